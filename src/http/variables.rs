//! nginx's variables, and the templates in which a configuration uses them.

/// A variable, known by name at configuration time.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Variable {
    /// A `map` block: its index.
    Map(usize),
}

/// Text with variables in it, compiled.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Text(Box<[u8]>),
    Variable(Variable),
}
