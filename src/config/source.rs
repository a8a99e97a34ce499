//! The files of a configuration and places in them.
//!
//! Owns the text of every file that was read, so that a diagnostic can show the line it speaks of
//! and `-T` can print what was loaded. Knows nothing of the grammar.

/// Which file of a [`Sources`] a place lies in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FileId(pub(super) usize);

/// A stretch of one file, in bytes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

impl Span {
    /// A stretch of `file`.
    #[must_use]
    pub const fn new(file: FileId, start: usize, end: usize) -> Self {
        Self { file, start, end }
    }

    /// The stretch from the start of `self` to the end of `last`, which lies behind it.
    #[must_use]
    pub fn to(self, last: Self) -> Self {
        if last.file == self.file && last.end >= self.start {
            return Self { end: last.end, ..self };
        }
        self
    }

    /// The empty place right behind `self`, where something is missing.
    #[must_use]
    pub const fn after(self) -> Self {
        Self { file: self.file, start: self.end, end: self.end }
    }
}

/// One file as it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceFile {
    /// The path, or `-g` for directives from the command line.
    pub name: String,
    /// The bytes; comments may hold any encoding.
    pub text: Vec<u8>,
}

/// Every file of one configuration, in the order of reading. A file that is included twice is
/// there twice.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
}

/// A [`Span`] as a person counts: line and column from 1, the column in characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The whole line, without its end; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// How many characters of that line the span covers, at least 1.
    pub width: usize,
}

impl Sources {
    /// Takes in one file.
    pub(super) fn add(&mut self, name: String, text: Vec<u8>) -> FileId {
        self.files.push(SourceFile { name, text });
        FileId(self.files.len() - 1)
    }

    /// How many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether nothing was read yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The bytes of all files together.
    pub(super) fn total_bytes(&self) -> usize {
        self.files.iter().map(|file| file.text.len()).sum()
    }

    /// One file.
    #[must_use]
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0]
    }

    /// The files, in the order of reading.
    #[must_use]
    pub fn into_files(self) -> Vec<SourceFile> {
        self.files
    }

    /// The line a byte lies on, from 1.
    #[must_use]
    pub fn line(&self, file: FileId, offset: usize) -> usize {
        let text = &self.file(file).text;
        1 + text[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
    }

    /// Where `span` is for a reader.
    #[must_use]
    pub fn place(&self, span: Span) -> Place {
        let SourceFile { name, text } = self.file(span.file);
        let start = span.start.min(text.len());
        let line_start =
            text[..start].iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..]
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(text.len(), |newline| start + newline);
        let end = span.end.clamp(start, line_end);
        let characters = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().count();
        Place {
            file: name.clone(),
            line: self.line(span.file, start),
            column: 1 + characters(&text[line_start..start]),
            text: String::from_utf8_lossy(&text[line_start..line_end])
                .trim_end_matches('\r')
                .to_owned(),
            width: characters(&text[start..end]).max(1),
        }
    }
}
