//! Asking for several things by name at once, where one that is absent fails the whole request.

use std::{collections::BTreeMap, future::Future};

use futures_util::future::join_all;

use crate::world::Trouble;

/// Names in one request; fewer than any documented limit (20 for load balancers and for tags).
pub(super) const CHUNK: usize = 20;

/// Why a request for several gave nothing.
pub(super) enum Failed {
    /// One of them does not exist, and nothing says which.
    Absent,
    Otherwise(Trouble),
}

/// What there is under each name; `None` under one that does not exist. One request for [`CHUNK`] names, and only if
/// one of them is absent another one for each.
pub(super) async fn several<T, F, Fut>(
    names: &[String],
    name_of: impl Fn(&T) -> Option<&str>,
    ask: F,
) -> BTreeMap<String, Result<Option<T>, Trouble>>
where
    T: Clone,
    F: Fn(Vec<String>) -> Fut,
    Fut: Future<Output = Result<Vec<T>, Failed>>,
{
    let pick = |name: &String, found: &[T]| {
        (name.clone(), Ok(found.iter().find(|one| name_of(one) == Some(name.as_str())).cloned()))
    };
    let chunk = |names: &[String]| {
        let names = names.to_vec();
        let (ask, pick) = (&ask, &pick);
        async move {
            match ask(names.clone()).await {
                Ok(found) => names.iter().map(|name| pick(name, &found)).collect::<Vec<_>>(),
                Err(Failed::Otherwise(trouble)) => names.into_iter().map(|name| (name, Err(trouble.clone()))).collect(),
                Err(Failed::Absent) if names.len() == 1 => names.into_iter().map(|name| (name, Ok(None))).collect(),
                Err(Failed::Absent) => {
                    join_all(names.iter().map(|name| async move {
                        match ask(vec![name.clone()]).await {
                            Ok(found) => pick(name, &found),
                            Err(Failed::Absent) => (name.clone(), Ok(None)),
                            Err(Failed::Otherwise(trouble)) => (name.clone(), Err(trouble)),
                        }
                    }))
                    .await
                }
            }
        }
    };
    join_all(names.chunks(CHUNK).map(chunk)).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::world::Class;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test]
    async fn one_that_is_absent_hides_no_other() {
        let asked = AtomicUsize::new(0);
        let answer = several(
            &names(&["a", "b", "c"]),
            |one: &String| Some(one.as_str()),
            |names| {
                asked.fetch_add(1, Ordering::SeqCst);
                async move { if names.iter().any(|name| name == "b") { Err(Failed::Absent) } else { Ok(names) } }
            },
        )
        .await;
        let there: Vec<_> = answer.into_iter().map(|(name, seen)| (name, seen.unwrap().is_some())).collect();
        assert_eq!(there, [("a".to_owned(), true), ("b".to_owned(), false), ("c".to_owned(), true)]);
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn without_an_answer_nothing_is_absent() {
        let none = || Trouble { class: Class::Transient, message: "no answer".into() };
        let answer = several(
            &names(&["a", "b"]),
            |one: &String| Some(one.as_str()),
            |_| async move { Err(Failed::Otherwise(none())) },
        )
        .await;
        assert!(answer.values().all(|seen| seen.as_ref().is_err_and(|trouble| *trouble == none())));
    }
}
