//! From an address to a driver that gives up in time.

use mongodb::error::Error;
use mongodb::options::{ClientOptions, ReadConcern, ReadPreference, SelectionCriteria};
use mongodb::{Client, Database};
use syncchat_core::ports::store::StoreError;

use super::primary::Primary;
use super::transaction::durable;
use crate::OpenError;
use crate::limits::{
    CALL_TIMEOUT, MONGO_CONNECTING_MAX, MONGO_CONNECTIONS_MAX, MONGO_SELECTION_TIMEOUT,
};

/// Used when the address names no database.
const DATABASE: &str = "syncchat";

/// Makes the client and the database, and says under which name the server will know us, and which
/// member is primary. No server is asked yet.
pub(super) async fn connect(url: &str) -> Result<(Client, Database, String, Primary), OpenError> {
    let parsed = tokio::time::timeout(CALL_TIMEOUT, ClientOptions::parse(url)).await;
    let Ok(parsed) = parsed else {
        let text = "the name in the mongodb+srv address was not found in time".into();
        return Err(OpenError::Store(StoreError::Unavailable(text)));
    };
    let mut options = parsed.map_err(|error| bad_address(url, &error))?;
    let app_name = options
        .app_name
        .get_or_insert_with(|| "syncchat".into())
        .clone();
    options.server_selection_timeout = Some(MONGO_SELECTION_TIMEOUT);
    options.connect_timeout = Some(MONGO_SELECTION_TIMEOUT);
    options.max_pool_size.get_or_insert(MONGO_CONNECTIONS_MAX);
    options.max_connecting.get_or_insert(MONGO_CONNECTING_MAX);
    // What was acknowledged must be seen, and what is seen must not vanish: whatever the address
    // says, reads are of what most members hold, and from the primary.
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    let mut concern = durable();
    concern.w_timeout = Some(CALL_TIMEOUT);
    options.write_concern = Some(concern);
    let primary = Primary::watch(&mut options);
    let client = Client::with_options(options).map_err(|error| bad_address(url, &error))?;
    let database = client
        .default_database()
        .unwrap_or_else(|| client.database(DATABASE));
    Ok((client, database, app_name, primary))
}

/// The driver's words may repeat a piece of the address; they are left out if it holds a name and
/// a password.
fn bad_address(url: &str, error: &Error) -> OpenError {
    OpenError::BadAddress(if url.contains('@') {
        "cannot be read (are name and password percent-encoded?)".into()
    } else {
        error.to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bad_address_does_not_show_its_password() {
        for url in [
            "mongodb://me:sec/ret@host/db",
            "mongodb://me:secret@host/db?replicaSet=",
            "mongodb://me:secret@host/db?w=x&nonsense",
            "mongodb://me:secret@host:99999/db",
        ] {
            if let Err(error) = connect(url).await {
                let text = error.to_string();
                assert!(!text.contains("sec") && !text.contains("ret@"), "{text}");
            }
        }
        assert!(connect("mongodb://me:sec/ret@host/db").await.is_err());
    }

    #[tokio::test]
    async fn the_database_is_the_one_in_the_address() {
        let (_, database, ..) = connect("mongodb://127.0.0.1:1/chat").await.unwrap();
        assert_eq!(database.name(), "chat");
        let (_, database, ..) = connect("mongodb://127.0.0.1:1").await.unwrap();
        assert_eq!(database.name(), DATABASE);
    }
}
