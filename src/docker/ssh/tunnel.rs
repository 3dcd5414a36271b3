//! A channel as the connection that an HTTP client speaks through.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use russh::{Channel, ChannelStream, client::Msg};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

use super::{Failure, Link};

/// A connection to the engine's socket.
pub(in crate::docker) struct Tunnel(ChannelStream<Msg>);

impl Tunnel {
    pub(super) fn new(channel: Channel<Msg>) -> Tunnel {
        Tunnel(channel.into_stream())
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl Connection for Tunnel {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Opens a tunnel whenever the HTTP client wants a connection.
#[derive(Clone)]
pub(in crate::docker) struct Connector(pub(in crate::docker) Arc<Link>);

impl Service<Uri> for Connector {
    type Response = TokioIo<Tunnel>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    /// The link knows where it leads: the address is not looked at.
    fn call(&mut self, _uri: Uri) -> Self::Future {
        let link = self.0.clone();
        Box::pin(async move { link.open().await.map(TokioIo::new) })
    }
}
