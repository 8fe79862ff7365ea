//! What queries ask.

use serde_json::Value;
use syncchat_core::Result;
use syncchat_core::command::{PageFrom, PageRequest};
use syncchat_core::model::Timestamp;
use syncchat_core::ports::store::ConversationCursor;
use utoipa::IntoParams;

use crate::reader::{Field, FromReader, Reader, Why};
use crate::scalar::Time;

/// `GET /api/users`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// The beginning of a username, without regard to case.
    #[param(min_length = 1, max_length = 32)]
    pub q: String,
}

/// `GET /api/conversations`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// `next` of the page before; left out for the first page.
    #[param(value_type = Option<String>)]
    pub cursor: Option<ConversationCursor>,
    /// Conversations on the page.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u64>,
}

/// `GET /api/conversations/{id}/messages`: at most one of `before`, `after` and `since`; without
/// any of them the newest messages.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Messages on the page; 50 if left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u64>,
    /// The messages just before this `seq`.
    pub before: Option<u64>,
    /// The messages just after this `seq`.
    pub after: Option<u64>,
    /// The messages written at or after this time.
    #[param(value_type = Option<Time>)]
    pub since: Option<Timestamp>,
}

impl FromReader for SearchQuery {
    fn from_reader(mut reader: Reader) -> Result<SearchQuery> {
        let q = reader.required("q");
        reader.finish(|| Some(SearchQuery { q: q? }))
    }
}

impl FromReader for ListQuery {
    fn from_reader(mut reader: Reader) -> Result<ListQuery> {
        let cursor = reader.optional("cursor");
        let limit = reader.optional("limit");
        reader.finish(|| Some(ListQuery { cursor, limit }))
    }
}

impl ListQuery {
    /// How many conversations are wanted on the page; the core says how many there may be.
    pub fn limit(&self) -> Option<usize> {
        self.limit.map(to_usize)
    }
}

impl FromReader for HistoryQuery {
    fn from_reader(mut reader: Reader) -> Result<HistoryQuery> {
        let places = ["before", "after", "since"];
        let given: Vec<&str> = places.into_iter().filter(|name| reader.has(name)).collect();
        if given.len() > 1 {
            for name in given {
                reader.refuse(name, "excludes the others of before, after and since");
            }
        }
        let query = HistoryQuery {
            limit: reader.optional("limit"),
            before: reader.optional("before"),
            after: reader.optional("after"),
            since: reader.optional("since"),
        };
        reader.finish(|| Some(query))
    }
}

impl HistoryQuery {
    /// The request.
    ///
    /// # Errors
    /// `invalid`, naming `limit`.
    pub fn request(&self) -> Result<PageRequest> {
        let from = match (self.before, self.after, self.since) {
            (Some(before), _, _) => PageFrom::Before(before),
            (_, Some(after), _) => PageFrom::After(after),
            (_, _, Some(since)) => PageFrom::Since(since),
            (None, None, None) => PageFrom::Newest,
        };
        PageRequest::new(from, self.limit.map(to_usize))
    }
}

/// What does not fit is more than any limit allows.
fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A cursor is opaque to clients: `<milliseconds>-<id>` of the last conversation shown.
pub(super) fn cursor_text(cursor: &ConversationCursor) -> String {
    format!("{}-{}", cursor.updated_at.millis(), cursor.id)
}

impl Field for ConversationCursor {
    fn read(value: Value) -> Result<ConversationCursor, Why> {
        let parse = |text: &str| {
            let (millis, id) = text.rsplit_once('-')?;
            Some(ConversationCursor {
                updated_at: Timestamp::from_millis(millis.parse().ok()?),
                id: id.parse().ok()?,
            })
        };
        value
            .as_str()
            .and_then(parse)
            .ok_or("must be the next of an earlier page".into())
    }
}

#[cfg(test)]
mod tests {
    use syncchat_core::model::ConversationId;

    use super::*;

    fn query<T: FromReader>(pairs: &[(&str, &str)]) -> Result<T> {
        let pairs = pairs
            .iter()
            .map(|&(name, value)| (name.into(), value.into()));
        T::from_reader(Reader::query(pairs))
    }

    fn fields<T>(result: Result<T>) -> Vec<String> {
        let fields = result.err().into_iter().flat_map(|error| error.fields);
        fields.map(|(name, _)| name.into_owned()).collect()
    }

    #[test]
    fn a_page_lies_in_one_place() {
        let page = |pairs: &[(&str, &str)]| query(pairs).and_then(|q: HistoryQuery| q.request());
        let request = |from, limit| PageRequest::new(from, limit);
        assert_eq!(page(&[]), request(PageFrom::Newest, None));
        let before = page(&[("before", "9"), ("limit", "2")]);
        assert_eq!(before, request(PageFrom::Before(9), Some(2)));
        assert_eq!(page(&[("after", "0")]), request(PageFrom::After(0), None));
        let since = page(&[("since", "1970-01-01T00:00:01Z")]);
        let second = Timestamp::from_millis(1_000);
        assert_eq!(since, request(PageFrom::Since(second), None));

        assert_eq!(
            fields(page(&[("before", "9"), ("after", "1")])),
            ["before", "after"]
        );
        assert_eq!(fields(page(&[("since", "yesterday")])), ["since"]);
        for bad in ["0", "201", "-1", "x", "", "99999999999999999999"] {
            assert_eq!(fields(page(&[("limit", bad)])), ["limit"], "{bad}");
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let cursor = ConversationCursor {
            updated_at: Timestamp::from_millis(-5),
            id: ConversationId::generate(),
        };
        let text = cursor_text(&cursor);
        let read: ListQuery = query(&[("cursor", &text)]).unwrap();
        assert_eq!(read.cursor, Some(cursor));
        for bad in [
            "",
            "-",
            "5",
            "x-000000000000000000000001",
            "5-0",
            "5-{\"$ne\":1}",
        ] {
            assert_eq!(
                fields(query::<ListQuery>(&[("cursor", bad)])),
                ["cursor"],
                "{bad}"
            );
        }
    }
}
