//! Which history the file holds.

use rusqlite::{Connection, params};
use syncchat_core::limits::EPOCHS_KEPT_MAX;
use syncchat_core::model::{EpochId, Lineage};

use super::rows::int;

pub(super) fn lineage(connection: &Connection) -> rusqlite::Result<Lineage> {
    let epochs = connection
        .prepare_cached("SELECT epoch FROM epochs ORDER BY number DESC LIMIT ?1")?
        .query_map([int(EPOCHS_KEPT_MAX as u64)], |row| {
            row.get(0).map(EpochId::from_bytes)
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Lineage::new(epochs))
}

pub(super) fn add(connection: &Connection, epoch: EpochId) -> rusqlite::Result<Lineage> {
    connection
        .prepare_cached(
            "INSERT INTO epochs (number, epoch)
             VALUES ((SELECT coalesce(max(number), 0) + 1 FROM epochs), ?1)",
        )?
        .execute([epoch.bytes()])?;
    connection
        .prepare_cached("DELETE FROM epochs WHERE number <= (SELECT max(number) FROM epochs) - ?1")?
        .execute(params![int(EPOCHS_KEPT_MAX as u64)])?;
    lineage(connection)
}

pub(super) fn replace(connection: &Connection, epoch: EpochId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM epochs")?
        .execute([])?;
    add(connection, epoch).map(drop)
}
