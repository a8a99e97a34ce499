//! The field section of a head: raw bytes and where the names and values lie in them.

/// Fields in the order they came.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    bytes: Box<[u8]>,
    spans: Box<[FieldSpan]>,
}

/// Where a field lies in the bytes of its head.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldSpan {
    pub(super) name: Span,
    pub(super) value: Span,
}

/// A range that is half as large as `Range<usize>`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Where `part` lies in `whole`, of which it must be a part; `None` if it is not, or if the
    /// whole is larger than 4 GB.
    pub(super) fn of(part: &[u8], whole: &[u8]) -> Option<Self> {
        let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
        let end = start.checked_add(part.len()).filter(|&end| end <= whole.len())?;
        Some(Self { start: u32::try_from(start).ok()?, end: u32::try_from(end).ok()? })
    }

    /// The bytes of the range.
    pub(super) fn of_bytes(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

impl Fields {
    pub(super) const fn new(bytes: Box<[u8]>, spans: Box<[FieldSpan]>) -> Self {
        Self { bytes, spans }
    }

    /// The whole head as it came, up to and including the empty line.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Names and values, in order; values without surrounding whitespace.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        let bytes = &self.bytes;
        self.spans.iter().map(|span| (span.name.of_bytes(bytes), span.value.of_bytes(bytes)))
    }

    /// The first value of a field; names compare without case.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// All values of a field.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The members of a field that is a comma-separated list (RFC 9110 section 5.6.1), trimmed,
    /// without empty ones, over all its lines.
    pub fn members<'a, 'n>(
        &'a self,
        name: &'n str,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.all(name)
            .flat_map(|value| value.split(|&b| b == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty())
    }

    /// Whether a list field has this member; members compare without case.
    #[must_use]
    pub fn has_member(&self, name: &str, member: &str) -> bool {
        self.members(name).any(|known| known.eq_ignore_ascii_case(member.as_bytes()))
    }
}

/// Whether a field's name is what `$http_NAME` means by `wanted`, which is lower-case with
/// underscores for dashes.
pub(super) fn variable_names(wanted: &str, name: &[u8]) -> bool {
    wanted.len() == name.len()
        && wanted.bytes().zip(name).all(|(want, &have)| match have {
            b'-' => want == b'_',
            _ => want == have.to_ascii_lowercase(),
        })
}
