//! The pure rooms from outside: heads, bodies, rewriting, variables and routes, under
//! configurations written in nginx's language.

mod fixture;
mod framing;
mod heads;
mod rewrite;
mod routes;
mod variables;
