//! A head of HTTP/1 as a test looks at it.

/// A request or response head.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Head(String);

impl Head {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(String::from_utf8(bytes).expect("a head is text"))
    }

    /// The first line.
    pub(crate) fn line(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    /// The status of a response head.
    pub(crate) fn status(&self) -> u16 {
        let code = self.line().split(' ').nth(1).and_then(|code| code.parse().ok());
        code.unwrap_or_else(|| panic!("no status line: {:?}", self.line()))
    }

    /// The values of all fields of this name, in their order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.0.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    /// The value of the only field of this name; nothing if there is none.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there more than once: {all:?}");
        all.first().copied()
    }

    /// The head as it came.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// A response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    /// The content: chunks are taken apart.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status()
    }

    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }
}
