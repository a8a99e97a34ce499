//! Which server and which location take a request.
