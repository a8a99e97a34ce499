//! nginx's configuration language: text in, one checked [`model`] or every mistake at once out.

pub mod model;
