//! A value as written, before it is read into the type of its setting.

/// A value of the file, the environment or the code.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i128),
    Float(f64),
    Bool(bool),
    List(Vec<Value>),
    /// A table of the file. No setting takes one.
    Table,
    /// A value of the code that is not text; it is stored outside the layer.
    InCode,
}

impl Value {
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }

    /// A whole number, also one that is written as text.
    pub(super) fn to_integer(&self) -> Option<i128> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A boolean, also one that is written as text or as a number.
    pub(super) fn to_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            Self::Integer(0) => Some(false),
            Self::Integer(1) => Some(true),
            Self::Text(text) => {
                let text = text.trim();
                let is_one_of =
                    |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
                if is_one_of(&["true", "yes", "1", "on"]) {
                    Some(true)
                } else if is_one_of(&["false", "no", "0", "off"]) {
                    Some(false)
                } else {
                    None
                }
            }
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        // No pointer is wider than 127 bits.
        Self::Integer(i128::try_from(number).unwrap_or(i128::MAX))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Self::List(texts.into_iter().map(Self::Text).collect())
    }
}
