//! Pulling an image, with its progress and with errors that say what to do.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bollard::{errors::Error, models::CreateImageInfo, query_parameters::CreateImageOptionsBuilder};
use futures_util::{Stream, StreamExt};

use super::{
    disk::Tellers,
    login::{self, credentials},
    transport::{Client, Transport},
    trouble,
};
use crate::{
    action::Node,
    ports::{Given, Login, Progress, Room},
    spec::{
        image::{digest, familiar, shown},
        upkeep::in_words,
    },
    world::{Class, Fault, NO_ROOM, Trouble},
};

/// How long the engine may say nothing at all while it pulls.
const SILENCE: Duration = Duration::from_secs(180);
/// How long the engine may take to agree on an API version.
const HELLO: Duration = Duration::from_secs(10);
/// The time between two looks at how much is left free.
const LOOK: Duration = Duration::from_secs(2);
/// The time between two lines of progress.
const BEAT: Duration = Duration::from_millis(500);

/// Pulls until the image is there. The caller limits the whole; this limits the silence.
pub(super) async fn pull(
    transport: &Transport,
    tellers: &Tellers,
    node: &Node,
    image: &str,
    given: &Given,
    progress: &Progress,
) -> Result<(), Trouble> {
    let client = transport.within(node, HELLO, |client| async { Ok(client) }).await?;
    let pulling = with(&client, node, image, given, progress);
    // An engine gives up a pull, and what it has of it, when nobody listens any more.
    let pulled = match given.room {
        None => pulling.await,
        Some(room) => tokio::select! {
            pulled = pulling => pulled,
            free = filled(tellers, &client, node, room) => Err(fills(node, image, free, room)),
        },
    };
    if pulled.is_err() {
        transport.forget(node);
    }
    pulled
}

/// Ends when less is free than must stay free, with what is.
async fn filled(tellers: &Tellers, client: &Client, node: &Node, room: Room) -> u64 {
    loop {
        tokio::time::sleep(LOOK).await;
        let asked = tokio::time::timeout(HELLO, tellers.ask(client, node));
        if let Ok(Ok(Some(disk))) = asked.await
            && disk.free < room.reserve
        {
            return disk.free;
        }
    }
}

fn fills(node: &Node, image: &str, free: u64, room: Room) -> Trouble {
    Trouble {
        class: Class::of(Fault::Answer { code: "", status: NO_ROOM }),
        message: format!(
            "the pull of {} on {} was given up: it left {} free of the {} before it, and {} are to stay free \
             (docker.disk.reserve)",
            shown(image),
            node.hostname,
            in_words(free),
            in_words(room.free),
            in_words(room.reserve)
        ),
    }
}

/// What is to be downloaded is more than there is room for: unpacked it takes as much again, at the least.
fn too_large(node: &Node, image: &str, download: u64, room: Room) -> Trouble {
    Trouble {
        class: Class::of(Fault::Answer { code: "", status: NO_ROOM }),
        message: format!(
            "the pull of {} on {} was given up: it downloads {} and more, which takes twice that while it is unpacked; \
             {} are free, of which {} are to stay free (docker.disk.reserve)",
            shown(image),
            node.hostname,
            in_words(download),
            in_words(room.free),
            in_words(room.reserve)
        ),
    }
}

async fn with(client: &Client, node: &Node, image: &str, given: &Given, progress: &Progress) -> Result<(), Trouble> {
    let login = given.login.as_ref();
    match follow(events(client, image, login), node, (image, login.is_some()), given.room, progress).await {
        Err(trouble) if says_nothing(&trouble) && is_there(client, image).await => Ok(()),
        followed => followed,
    }
}

/// How the telling of a pull ended need not be how the pull did: what the engine has by then says more.
fn says_nothing(trouble: &Trouble) -> bool {
    !matches!(trouble.class, Class::Terminal | Class::Throttled | Class::NoRoom)
}

/// Whether an image that is fixed to a digest is on the engine. One under a tag alone may be an older one.
async fn is_there(client: &Client, image: &str) -> bool {
    let name = familiar(image);
    let look = tokio::time::timeout(HELLO, client.docker.inspect_image(&name));
    digest(image).is_some() && matches!(look.await, Ok(Ok(_)))
}

fn events(
    client: &Client,
    image: &str,
    login: Option<&Login>,
) -> impl Stream<Item = Result<CreateImageInfo, Error>> + use<> {
    // Without a tag, the engine would pull every tag there is.
    let options = CreateImageOptionsBuilder::new().from_image(&familiar(image)).build();
    Box::pin(client.docker.create_image(Some(options), None, login.map(|login| credentials(image, login))))
}

async fn follow(
    mut events: impl Stream<Item = Result<CreateImageInfo, Error>> + Unpin,
    node: &Node,
    (image, named): (&str, bool),
    room: Option<Room>,
    progress: &Progress,
) -> Result<(), Trouble> {
    let mut layers = Layers::default();
    let mut told = None;
    loop {
        let event = tokio::time::timeout(SILENCE, events.next()).await;
        match event.map_err(|_| trouble::no_answer(node, SILENCE))? {
            None => return Ok(()),
            Some(Ok(event)) => layers.note(event),
            Some(Err(Error::DockerStreamError { error })) => return Err(refused(node, (image, named), 500, &error)),
            Some(Err(Error::DockerResponseServerError { status_code, message })) => {
                return Err(refused(node, (image, named), status_code, &message));
            }
            Some(Err(error)) => return Err(trouble::of(node, &error)),
        }
        let download = layers.download();
        if let Some(room) = room.filter(|room| download.saturating_mul(2) > room.free.saturating_sub(room.reserve)) {
            return Err(too_large(node, image, download, room));
        }
        if let Some(percent) = layers.percent()
            && told.is_none_or(|at: Instant| at.elapsed() >= BEAT)
        {
            progress(format!("pull {image} {} {percent}%", node.hostname));
            told = Some(Instant::now());
        }
    }
}

/// Bytes downloaded and to download, by layer.
#[derive(Default)]
struct Layers(HashMap<String, (i64, i64)>);

impl Layers {
    fn note(&mut self, event: CreateImageInfo) {
        let Some(id) = event.id else { return };
        let detail = event.progress_detail.unwrap_or_default();
        match event.status.as_deref() {
            Some("Downloading") => {
                if let (Some(current), Some(total)) = (detail.current, detail.total) {
                    self.0.insert(id, (current, total));
                }
            }
            Some("Download complete" | "Pull complete") => {
                if let Some((current, total)) = self.0.get_mut(&id) {
                    *current = *total;
                }
            }
            _ => {}
        }
    }

    /// Bytes to download, as far as is known: an engine tells of a layer when it begins with it.
    fn download(&self) -> u64 {
        self.0.values().map(|(_, total)| u64::try_from(*total).unwrap_or_default()).sum()
    }

    fn percent(&self) -> Option<i64> {
        let (current, total) = self.0.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        (total > 0).then(|| (current * 100 / total).clamp(0, 100))
    }
}

/// The registry's refusal, in the engine's words: its status tells little, the words tell what to do.
fn refused(node: &Node, (image, named): (&str, bool), status: u16, words: &str) -> Trouble {
    let has = |parts: &[&str]| parts.iter().any(|part| words.to_lowercase().contains(part));
    let (status, advice) = if has(&["toomanyrequests", "too many requests", "rate limit"]) {
        (429, "the registry asks for fewer pulls")
    } else if has(&["no basic auth credentials", "unauthorized", "access denied", "authentication required"]) {
        (401, login::advice(named))
    } else if has(&["manifest unknown", "not found", "no such image", "name unknown", "does not exist"]) {
        (404, "push that tag, or correct the image in the manifest")
    } else if trouble::is_full(words) {
        (NO_ROOM, "make room on the instance's Docker volume")
    } else {
        (status, "check that the instance reaches the registry")
    };
    Trouble {
        class: Class::of(Fault::Answer { code: "", status }),
        message: format!("cannot pull {image} on {}: {}; {advice}", node.hostname, words.trim()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bollard::models::ProgressDetail;
    use futures_util::stream;
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::TcpListener,
    };

    use super::*;
    use crate::{action::Access, docker::transport::plain};

    fn node() -> Node {
        let (hostname, endpoint) = ("docker1".into(), "10.0.0.1:2376".into());
        Node { hostname, endpoint, access: Access::Tls { name: None } }
    }

    fn event(id: &str, status: &str, current: i64, total: i64) -> Result<CreateImageInfo, Error> {
        Ok(CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: Some(ProgressDetail { current: Some(current), total: Some(total) }),
            error_detail: None,
        })
    }

    fn listener() -> (Progress, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = lines.clone();
        (Arc::new(move |line| heard.lock().unwrap().push(line)), lines)
    }

    #[tokio::test]
    async fn progress_is_told_now_and_then_over_all_layers() {
        let (progress, lines) = listener();
        let burst: Vec<_> = std::iter::once(event("a", "Downloading", 43, 100))
            .chain((0..1000).map(|at| event("b", "Downloading", at, 1000)))
            .collect();
        follow(stream::iter(burst), &node(), ("app:1.1", false), None, &progress).await.unwrap();
        assert_eq!(*lines.lock().unwrap(), ["pull app:1.1 docker1 43%"]);
    }

    /// An engine that ends its answer to a pull with the end of a line in a piece of its own, which is read as one more
    /// line that is cut short; and that has an image, or has it not.
    async fn engine(has_it: bool) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut line = String::new();
                    let mut pulls = false;
                    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                        pulls |= line.starts_with("POST");
                        if line == "\r\n" {
                            let answer = match (std::mem::take(&mut pulls), has_it) {
                                (true, _) => {
                                    "200 OK\r\ntransfer-encoding: chunked\r\n\r\nd\r\n{\"status\":\"\"}\r\n2\r\n\r\n\r\n0\r\n\r\n"
                                }
                                (false, true) => "200 OK\r\ncontent-length: 2\r\n\r\n{}",
                                (false, false) => "404 Not Found\r\ncontent-length: 2\r\n\r\n{}",
                            };
                            let answer = format!("HTTP/1.1 {answer}");
                            stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
                        }
                        line.clear();
                    }
                });
            }
        });
        Node { endpoint, ..node() }
    }

    #[tokio::test]
    async fn a_pull_whose_telling_is_cut_short_went_well_when_the_image_is_there() {
        let (progress, _) = listener();
        let fixed = format!("r.example.com/app:1@sha256:{}", "0".repeat(64));
        for (has_it, image, well) in [(true, fixed.as_str(), true), (false, &fixed, false), (true, "app:1", false)] {
            let node = engine(has_it).await;
            let pulled = with(&plain(&node), &node, image, &Given::default(), &progress).await;
            assert_eq!(pulled.is_ok(), well, "{image}: {pulled:?}");
            if let Err(trouble) = pulled {
                assert!(trouble.message.contains("bytes remaining on stream"), "{trouble:?}");
            }
        }
    }

    #[test]
    fn a_layer_that_is_complete_counts_in_full() {
        let mut layers = Layers::default();
        for happened in [
            event("a", "Downloading", 10, 100),
            event("b", "Downloading", 50, 100),
            event("a", "Download complete", 0, 0),
            event("c", "Already exists", 0, 0),
        ] {
            layers.note(happened.unwrap());
        }
        assert_eq!(layers.percent(), Some(75));
    }

    #[tokio::test]
    async fn a_pull_that_cannot_fit_is_given_up_before_it_fills_the_disk() {
        let (progress, _) = listener();
        let pull = async |free| {
            let events = [event("a", "Downloading", 1, 300), event("b", "Downloading", 1, 200)];
            let room = Some(Room { free, reserve: 100 });
            follow(stream::iter(events), &node(), ("app:2", false), room, &progress).await
        };
        assert_eq!(pull(1100).await, Ok(()));
        let trouble = pull(1099).await.unwrap_err();
        assert_eq!(trouble.class, Class::NoRoom);
        assert!(trouble.message.contains("it downloads 500 bytes and more"), "{}", trouble.message);
        assert!(
            trouble.message.ends_with("1.1 KiB are free, of which 100 bytes are to stay free (docker.disk.reserve)")
        );
    }

    #[tokio::test]
    async fn an_error_within_the_stream_fails_the_pull() {
        let (progress, _) = listener();
        let error = "manifest for app:9 not found: manifest unknown: manifest unknown".to_owned();
        let events = stream::iter([event("a", "Downloading", 1, 2), Err(Error::DockerStreamError { error })]);
        let trouble = follow(events, &node(), ("app:9", false), None, &progress).await.unwrap_err();
        assert_eq!(trouble.class, Class::Terminal);
        assert!(trouble.message.starts_with("cannot pull app:9 on docker1: manifest for app:9 not found"));
        assert!(trouble.message.ends_with("push that tag, or correct the image in the manifest"));
    }

    #[test]
    fn the_words_decide_whether_a_refusal_is_tried_again() {
        let class = |status, words| refused(&node(), ("app:1", false), status, words).class;
        assert_eq!(class(500, "Get \"https://r/v2/\": dial tcp: lookup r: no such host"), Class::Transient);
        assert_eq!(class(500, "net/http: TLS handshake timeout"), Class::Transient);
        assert_eq!(class(500, "toomanyrequests: You have reached your pull rate limit"), Class::Throttled);
        assert_eq!(class(500, "Head \"https://r/v2/app\": no basic auth credentials"), Class::Terminal);
        assert_eq!(class(404, "pull access denied for app, repository does not exist"), Class::Terminal);
        assert_eq!(class(500, "write /var/lib/docker/tmp: no space left on device"), Class::NoRoom);
    }
}
