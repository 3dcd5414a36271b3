//! A stack at rest: a pass asks for every kind once, page by page, and changes nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    controller::Controller,
    ground::{GROUND, is_mutation},
    place::Place,
};

const PASSES: usize = 4;

/// What one call asked for: the API, the operation, and the page of what it tells.
type Kind = (String, String, String);

/// What the passes asked for, so many times each; nothing of the stack was changed.
pub async fn passes_ask_once_and_change_nothing<P: Place>(
    place: &P,
    controller: &mut Controller,
) -> BTreeMap<Kind, usize> {
    let instances = place.instances();
    let marks: Vec<u64> = instances.values().map(|instance| instance.log_mark()).collect();
    // From the end of one pass to the end of the last one: what is asked in between is what these passes ask.
    controller.passes(place.name(), 1, 20).await;
    let since = GROUND.last_call();
    controller.passes(place.name(), PASSES, 20).await;
    let (mut asked, mut swept) = (BTreeMap::new(), BTreeMap::new());
    for call in GROUND.whole_calls(place.region(), since) {
        let text = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
        assert!(!is_mutation(&text("operation")), "AWS was changed at rest: {call:#}");
        let count = if is_sweep(&call) { &mut swept } else { &mut asked };
        *count.entry((text("service"), text("operation"), page(&call))).or_default() += 1;
    }
    let too_often: Vec<_> = asked.iter().filter(|(_, times)| **times > PASSES).collect();
    assert!(too_often.is_empty(), "in {PASSES} passes these were asked more often: {too_often:#?}\nof {asked:#?}");
    // Whatever was left over is looked for now and then, and not in every pass.
    assert!(swept.values().all(|times| *times <= 1), "{swept:#?}");
    for operation in P::ASKED {
        assert!(asked.keys().any(|(_, asked, _)| asked == operation), "{operation} was never asked: {asked:#?}");
    }
    for (instance, mark) in instances.values().zip(marks) {
        let changing = instance.mutations(mark);
        assert!(changing.is_empty(), "{} was changed at rest: {changing:#?}", instance.hostname);
    }
    let status = controller.until(place.name(), "converged", 5, |status| status.phase() == "Converged").await;
    assert_eq!(status.0["lastPassMutations"], 0);
    asked
}

/// It lists every load balancer of the region.
fn is_sweep(call: &Value) -> bool {
    let lists = ["DescribeLoadBalancers", "DescribeTargetGroups"].iter().any(|list| call["operation"] == *list);
    let named = ["LoadBalancerNames", "LoadBalancerArns", "Names", "TargetGroupArns", "LoadBalancerArn"];
    lists && named.iter().all(|key| call["request"].get(key).is_none_or(|names| names.is_null()))
}

/// Which page is asked for; nothing: the first one.
fn page(call: &Value) -> String {
    let tokens = ["NextToken", "Marker"].into_iter().filter_map(|key| call["request"][key].as_str());
    tokens.collect()
}
