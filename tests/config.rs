//! Reading nginx's configuration language, from a text to the model or to diagnostics.
//!
//! No file of the system and no resolver is asked: the world is a table (`configs/world.rs`).

#[path = "configs/corpus.rs"]
mod corpus;
#[path = "configs/fuzz.rs"]
mod fuzz;
#[path = "configs/meaning.rs"]
mod meaning;
#[path = "configs/mistakes.rs"]
mod mistakes;
#[path = "configs/mistakes_http.rs"]
mod mistakes_http;
#[path = "configs/world.rs"]
mod world;
