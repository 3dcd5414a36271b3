//! Tells Rollbar and webhooks of releases.

use std::{error::Error, sync::OnceLock, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Client, RequestBuilder, header, redirect::Policy};
use ring::hmac;
use serde_json::{Value, json};

use crate::{
    action::{Delivery, Receiver},
    ports::{Address, Herald},
    secret::Secret,
    spec::{Stack, interpolate::slug, notify::Occasion},
    world::{Class, Trouble},
};

/// Of a message with its answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// So much of an answer is told.
const MOST: usize = 300;
/// The longest `environment`, `revision` and `local_username` that Rollbar takes ("Deploys", API reference).
const LONGEST: usize = 255;

/// The header that says which event it is, the same each time it is sent.
pub const ID: &str = "evenkeel-id";
/// The header that says what happened.
pub const EVENT: &str = "evenkeel-event";
/// The header with the time and the signature: `t=SECONDS,v1=HEX`.
pub const SIGNATURE: &str = "evenkeel-signature";

/// See the module.
#[derive(Debug, Default)]
pub struct Messenger {
    client: OnceLock<Client>,
}

impl Messenger {
    /// Has told nobody yet.
    pub fn new() -> Messenger {
        Messenger::default()
    }

    fn client(&self) -> Result<&Client, Trouble> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // Elsewhere than declared nobody is told anything.
        let client = Client::builder().redirect(Policy::none()).timeout(PATIENCE).build();
        let client = client.map_err(|error| trouble(format!("no TLS connection can be made: {}", causes(&error))))?;
        Ok(self.client.get_or_init(|| client))
    }
}

#[async_trait]
impl Herald for Messenger {
    async fn tell(&self, stack: &Stack, delivery: &Delivery, address: &Address) -> Result<(), Trouble> {
        let client = self.client()?;
        let post = client.post(address.url.expose()).header(header::CONTENT_TYPE, "application/json");
        let request = match delivery.to {
            Receiver::Rollbar => rollbar(post, stack, delivery, address)?,
            Receiver::Webhook => webhook(post, stack, delivery, address, Timestamp::now()),
        };
        let answer = request.send().await.map_err(|error| trouble(unanswered(error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = answer.text().await.unwrap_or_default();
        let said = shortened(&address.hidden.iter().fold(said, |said, secret| secret.hide(&said)));
        let colon = if said.is_empty() { "" } else { ": " };
        Err(trouble(format!("it answered {status}{colon}{said} ({})", advice(status.as_u16(), delivery.to))))
    }
}

/// As the "Deploys" of Rollbar's API reference has it. The token is in the header too, where newer examples have it.
fn rollbar(
    post: RequestBuilder,
    stack: &Stack,
    delivery: &Delivery,
    address: &Address,
) -> Result<RequestBuilder, Trouble> {
    let word = |value: &Option<Secret>, what: &str| {
        let value = value.as_ref().map(|secret| secret.expose().trim()).filter(|value| !value.is_empty());
        let none = || {
            trouble(format!(
                "no variable of {} tells its {what}; add the one that `notifications` names to its `env` or its image, or \
                 name another one there",
                delivery.notice.subject()
            ))
        };
        value.map(|value| value.chars().take(LONGEST).collect::<String>()).ok_or_else(none)
    };
    let user: String = slug(&stack.name).chars().take(LONGEST).collect();
    let body = json!({
        "access_token": address.key.expose(),
        "environment": word(&address.environment, "environment")?,
        "revision": word(&address.revision, "revision")?,
        "local_username": user,
    });
    Ok(post.header("x-rollbar-access-token", address.key.expose()).body(body.to_string()))
}

fn webhook(
    post: RequestBuilder,
    stack: &Stack,
    delivery: &Delivery,
    address: &Address,
    now: Timestamp,
) -> RequestBuilder {
    let body = body(stack, delivery).to_string();
    let event = delivery.notice.occasion.map_or("", Occasion::word);
    post.header(ID, &delivery.notice.id)
        .header(EVENT, event)
        .header(SIGNATURE, signature(&address.key, now.as_second(), &body))
        .body(body)
}

/// What a webhook gets.
fn body(stack: &Stack, delivery: &Delivery) -> Value {
    let notice = &delivery.notice;
    json!({
        "id": notice.id,
        "event": notice.occasion,
        "at": delivery.since,
        "stack": stack.name,
        "app": notice.app,
        "container": notice.container,
        "release": notice.release,
        "image": notice.image,
        "digest": notice.digest,
        "revision": notice.revision,
        "message": notice.words,
    })
}

/// `t=SECONDS,v1=HEX`: the HMAC-SHA256 of `SECONDS.BODY`.
pub fn signature(secret: &Secret, seconds: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

fn trouble(message: String) -> Trouble {
    Trouble { class: Class::Transient, message }
}

/// Without the URL, which may hold what nobody else is to know.
fn unanswered(error: reqwest::Error) -> String {
    let error = error.without_url();
    match error.is_timeout() {
        true => format!("no answer within {}s; check that it runs and can be reached from here", PATIENCE.as_secs()),
        false => format!("{}; check its URL, and that it can be reached from here", causes(&error)),
    }
}

fn causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    words
}

fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.chars().count() > MOST {
        true => line.chars().take(MOST).chain("…".chars()).collect(),
        false => line,
    }
}

fn advice(status: u16, to: Receiver) -> &'static str {
    match (status, to) {
        (401 | 403, Receiver::Rollbar) => "check `accessToken`: it needs the scope post_server_item",
        (401 | 403, Receiver::Webhook) => "check that both sides have the same `secret`",
        (300..=399, _) => "declare the URL that it refers to: none is followed",
        (404 | 410, _) => "check the URL",
        (429 | 500..=599, _) => "it may take it later",
        _ => "its own log says more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_hmac_of_time_and_body() {
        let known = signature(&Secret::new("whsec"), 1_700_000_000, r#"{"id":"1"}"#);
        assert_eq!(known, "t=1700000000,v1=60734808e731b08d45bee887cade715d87211348f1bcb975b46c8d2e7fa5dbcd");
        assert_ne!(known, signature(&Secret::new("whsec"), 1_700_000_001, r#"{"id":"1"}"#));
    }

    #[test]
    fn a_long_answer_is_told_on_one_line_and_in_part() {
        assert_eq!(shortened("<html>\n  <b>no</b>\n"), "<html> <b>no</b>");
        assert_eq!(shortened(&"x".repeat(400)).chars().count(), MOST + 1);
    }
}
