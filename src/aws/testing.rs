//! An AWS of one function, for tests without LocalStack.

use std::sync::Arc;

use aws_credential_types::Credentials;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::OnceCell,
};

use super::{Aws, client};
use crate::spec::{Stack, stack::Provider};

pub(crate) fn shop() -> Stack {
    Stack {
        name: "shop".into(),
        provider: Provider::Opsworks,
        region: "eu-west-1".into(),
        assume_role: None,
        service_role_arn: None,
        instance_profile_arn: None,
        vpc_id: None,
        subnet_ids: Vec::new(),
        root_device_type: None,
        ssh_key_name: None,
        cookbooks: None,
        heal_after: std::time::Duration::from_secs(300),
        registries: Default::default(),
        deletion_policy: crate::spec::stack::DeletionPolicy::Retain,
        suspend: false,
        adopt: false,
        layers: Vec::new(),
    }
}

pub(crate) async fn at(endpoint: &str) -> Arc<Aws> {
    let credentials = Credentials::new("test", "test", None, None, "test");
    let loader = client::loader("eu-west-1").endpoint_url(endpoint).credentials_provider(credentials);
    Arc::new(Aws { config: OnceCell::new_with(Some(loader.load().await)), ..Aws::default() })
}

/// Answers every request, headers and body, with the status and body that `answer` makes of it.
pub(crate) async fn serve<B: Into<Vec<u8>>>(answer: impl Fn(&str) -> (u16, B) + Send + Sync + 'static) -> Arc<Aws> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let (status, body) = answer(&request(&mut stream).await);
                let body: Vec<u8> = body.into();
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close", body.len());
                stream.write_all(&[format!("{head}\r\n\r\n").as_bytes(), &body].concat()).await.unwrap();
            });
        }
    });
    at(&endpoint).await
}

async fn request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.unwrap();
        request.extend_from_slice(&part[..read]);
        let Some(end) = request.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        if request.len() >= end + 4 + length.unwrap_or(0) {
            return String::from_utf8_lossy(&request).into_owned();
        }
    }
}
