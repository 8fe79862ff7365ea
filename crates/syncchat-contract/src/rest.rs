//! Bodies and pages of REST.
