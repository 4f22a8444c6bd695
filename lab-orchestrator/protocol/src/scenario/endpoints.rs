//! Whom clients talk to, as a scenario says it: `"all"`, `"one each"` or `["m1", "m2"]`.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserializer, Serializer};

use crate::{Endpoints, MemberNo};

const ALL: &str = "all";
const ONE_EACH: &str = "one each";

/// What may stand in a file, for its schema.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is of use")]
pub(super) enum Shape {
    /// `all` or `one each`.
    Word(String),
    /// Members, such as `m1`.
    Members(Vec<String>),
}

pub(super) fn serialize<S: Serializer>(
    endpoints: &Endpoints,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match endpoints {
        Endpoints::All => serializer.serialize_str(ALL),
        Endpoints::OneEach => serializer.serialize_str(ONE_EACH),
        Endpoints::These(members) => {
            serializer.collect_seq(members.iter().map(ToString::to_string))
        }
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Endpoints, D::Error> {
    deserializer.deserialize_any(Words)
}

struct Words;

impl<'de> Visitor<'de> for Words {
    type Value = Endpoints;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{ALL}\", \"{ONE_EACH}\" or a list of members such as [\"m1\"]")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Endpoints, E> {
        match word {
            ALL => Ok(Endpoints::All),
            ONE_EACH => Ok(Endpoints::OneEach),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Endpoints, A::Error> {
        let mut members = BTreeSet::new();
        while let Some(word) = words.next_element::<String>()? {
            let member: MemberNo = word.parse().map_err(A::Error::custom)?;
            members.insert(member);
        }
        if members.is_empty() {
            return Err(A::Error::invalid_length(0, &self));
        }
        Ok(Endpoints::These(members))
    }
}

#[cfg(test)]
mod tests {
    use crate::Endpoints;
    use crate::MemberNo;
    use crate::scenario::WorkloadWish;

    #[test]
    fn endpoints_are_words_or_members() {
        let read = |text: &str| toml::from_str::<WorkloadWish>(text);
        let endpoints = |text: &str| read(text).expect("reads").endpoints;
        assert_eq!(endpoints(""), Endpoints::All);
        assert_eq!(endpoints("endpoints = \"one each\""), Endpoints::OneEach);
        let these = Endpoints::These([MemberNo(1), MemberNo(3)].into());
        assert_eq!(endpoints("endpoints = [\"m1\", \"m3\"]"), these);
        for wrong in ["endpoints = \"some\"", "endpoints = []"] {
            let error = read(wrong).expect_err("refused").to_string();
            assert!(error.contains("\"one each\" or a list"), "{error}");
        }
        let error = read("endpoints = [\"n1\"]").expect_err("refused").to_string();
        assert!(error.contains("members are m1 to m9"), "{error}");
    }
}
