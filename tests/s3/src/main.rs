//! Serves the S3 protocol from a folder: `syncchat-test-s3 ADDRESS ACCESS-KEY SECRET-KEY FOLDER`. Each
//! folder in it is a bucket. Every signature is checked, those in links and forms too.

use std::error::Error;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, access, secret, folder] = args.as_slice() else {
        return Err("syncchat-test-s3 ADDRESS ACCESS-KEY SECRET-KEY FOLDER".into());
    };
    let files = FileSystem::new(folder).map_err(|error| format!("{folder}: {error:?}"))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(access.as_str(), secret.as_str()));
    let service = builder.build();
    let listener = TcpListener::bind(address).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(socket), service.clone());
        // A client that goes away in the middle is what some tests are about.
        tokio::spawn(async move { connection.await.ok() });
    }
}
