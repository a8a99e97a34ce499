//! Text with variables in it: compiled once, rendered per request, frozen for a tunnel.
//!
//! A template is used in three ways: rendered plainly for header fields, rendered with escaping for
//! log lines, and *frozen* when the heads of a request are about to be dropped. A frozen template
//! is rendered text with holes for the few variables that still change ([`Running`]).

use crate::clock::Now;
use crate::config::model::Escape;

use super::facts::{Context, Host, Tally};
use super::variables::{Running, Variable};

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

/// Why a text is not a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TemplateError {
    /// The name of the variable as far as it could be read; empty if there was none.
    pub name: String,
    /// Where the `$` is, in bytes from the start of the text.
    pub offset: usize,
    /// What is wrong.
    pub kind: TemplateErrorKind,
}

/// What is wrong with a template.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TemplateErrorKind {
    /// Nobody knows this variable.
    Unknown,
    /// A `$` without a name.
    NoName,
    /// `${` without `}`.
    Unclosed,
}

impl Template {
    /// Compiles text with `$name`, `${name}` and `$1` … `$9`, as nginx reads them: a name is
    /// letters, digits and underscores; a group is one digit, so `$10` is group 1 and a zero.
    /// `lookup` is asked for every name that is not a group.
    ///
    /// # Errors
    /// At the first `$` that does not begin a variable.
    pub fn compile(
        text: impl AsRef<[u8]>,
        lookup: &mut dyn FnMut(&str) -> Option<Variable>,
    ) -> Result<Self, TemplateError> {
        let text = text.as_ref();
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(dollar) = rest.iter().position(|&b| b == b'$') {
            let offset = text.len() - rest.len() + dollar;
            let error = |name: &[u8], kind| TemplateError {
                name: String::from_utf8_lossy(name).into_owned(),
                offset,
                kind,
            };
            push_text(&mut parts, &rest[..dollar]);
            rest = &rest[dollar + 1..];
            if let Some((&digit @ b'1'..=b'9', behind)) = rest.split_first() {
                parts.push(Part::Variable(Variable::Group(digit - b'0')));
                rest = behind;
                continue;
            }
            let braced = rest.first() == Some(&b'{');
            rest = &rest[usize::from(braced)..];
            let length =
                rest.iter().take_while(|&&b| b.is_ascii_alphanumeric() || b == b'_').count();
            let (name, behind) = rest.split_at(length);
            if braced && behind.first() != Some(&b'}') {
                return Err(error(name, TemplateErrorKind::Unclosed));
            }
            if name.is_empty() {
                return Err(error(name, TemplateErrorKind::NoName));
            }
            rest = &behind[usize::from(braced)..];
            let known = str::from_utf8(name).ok().and_then(&mut *lookup);
            let variable = known.ok_or_else(|| error(name, TemplateErrorKind::Unknown))?;
            parts.push(Part::Variable(variable));
        }
        push_text(&mut parts, rest);
        Ok(Self { parts })
    }

    /// A template without variables.
    #[must_use]
    pub fn literal(text: impl AsRef<[u8]>) -> Self {
        let mut parts = Vec::new();
        push_text(&mut parts, text.as_ref());
        Self { parts }
    }

    /// Whether there is no variable in it.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.constant().is_some()
    }

    /// The text, if there is no variable in it.
    #[must_use]
    pub fn constant(&self) -> Option<&[u8]> {
        match self.parts.as_slice() {
            [] => Some(b""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The variables in it, in order, repeated ones repeatedly.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Text(_) => None,
        })
    }

    /// Appends the text with its variables' values; a variable without a value adds nothing.
    pub fn render(&self, cx: &Context<'_>, out: &mut Vec<u8>) {
        self.render_at(cx, 0, out);
    }

    /// [`render`](Self::render) inside `depth` nested maps.
    pub(super) fn render_at(&self, cx: &Context<'_>, depth: usize, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => {
                    variable.append(cx, depth, out);
                }
            }
        }
    }

    /// Appends a log line: values are escaped, and one that does not exist is a dash or nothing.
    pub fn render_escaped(&self, cx: &Context<'_>, escape: Escape, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => escaped(escape, out, |out| variable.append(cx, 0, out)),
            }
        }
    }

    /// Renders what can be rendered now, with escaping, and leaves holes for what still changes.
    /// A map is looked up now, even if its source would still change.
    #[must_use]
    pub fn freeze(&self, cx: &Context<'_>, escape: Escape) -> Frozen {
        let mut text = Vec::new();
        let mut holes = Vec::new();
        for part in &self.parts {
            let variable = match part {
                Part::Text(literal) => {
                    text.extend_from_slice(literal);
                    continue;
                }
                Part::Variable(variable) => variable,
            };
            match variable.running(cx, &mut text) {
                Some(running) => {
                    let at = u32::try_from(text.len()).unwrap_or(u32::MAX);
                    holes.push(Hole { at, running });
                }
                None => escaped(escape, &mut text, |out| variable.append(cx, 0, out)),
            }
        }
        // Copied rather than cut to size: what a cut leaves behind lines that stay for hours are
        // holes that nothing fits.
        Frozen { text: text.as_slice().into(), holes: holes.as_slice().into(), escape }
    }
}

/// A log line that waits for its last values; a few hundred bytes, and no head behind it.
#[derive(Clone, Debug)]
pub struct Frozen {
    text: Box<[u8]>,
    holes: Box<[Hole]>,
    escape: Escape,
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    at: u32,
    running: Running,
}

impl Frozen {
    /// Appends the finished line.
    pub fn render(&self, tally: &Tally, host: &Host, now: Now, out: &mut Vec<u8>) {
        let mut done = 0;
        for hole in &self.holes {
            let at = self.text.len().min(hole.at as usize);
            out.extend_from_slice(&self.text[done..at]);
            done = at;
            escaped(self.escape, out, |out| hole.running.append(tally, host, now, out));
        }
        out.extend_from_slice(&self.text[done..]);
    }

    /// The memory it holds, in bytes.
    #[must_use]
    pub const fn memory(&self) -> usize {
        size_of::<Self>() + self.text.len() + self.holes.len() * size_of::<Hole>()
    }
}

fn push_text(parts: &mut Vec<Part>, text: &[u8]) {
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
}

/// Lets `append` add a value, escapes what it added, and puts nginx's dash where it says that there
/// is no value.
fn escaped(escape: Escape, out: &mut Vec<u8>, append: impl FnOnce(&mut Vec<u8>) -> bool) {
    let start = out.len();
    if !append(out) {
        out.truncate(start);
        if escape == Escape::Default {
            out.push(b'-');
        }
        return;
    }
    let needs = |&b: &u8| match escape {
        Escape::Default => b == b'"' || b == b'\\' || !(0x20..0x7f).contains(&b),
        Escape::Json => b == b'"' || b == b'\\' || b < 0x20,
        Escape::None => false,
    };
    let Some(first) = out[start..].iter().position(needs) else { return };
    let raw = out.split_off(start + first);
    for byte in raw {
        if needs(&byte) {
            escape_byte(byte, escape, out);
        } else {
            out.push(byte);
        }
    }
}

fn escape_byte(byte: u8, escape: Escape, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let hex = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    if escape == Escape::Default {
        out.extend_from_slice(b"\\x");
        out.extend_from_slice(&hex);
        return;
    }
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&hex);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
