//! Names, units and meaning of this crate's metrics.

/// Calls answered, by `route` (its template) and `status`.
pub const HTTP_REQUESTS_TOTAL: &str = "syncchat_http_requests_total";
/// Seconds from a request's head to its answer's, by `route`.
pub const HTTP_REQUEST_SECONDS: &str = "syncchat_http_request_seconds";

/// Tells the recorder what the metrics mean. Call once, after it is installed.
pub fn describe() {
    metrics::describe_counter!(
        HTTP_REQUESTS_TOTAL,
        "REST calls answered, by route and status"
    );
    metrics::describe_histogram!(
        HTTP_REQUEST_SECONDS,
        metrics::Unit::Seconds,
        "time from a REST request to its answer, by route"
    );
}
