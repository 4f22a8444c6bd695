//! The first members of a cluster, as an operator lists them.

use std::collections::{BTreeMap, BTreeSet};

use node_protocol::MemberId;

use crate::ids::member_id;
use crate::urls::{Url, UrlError, join};

/// One of the first members: a voter, whose clients' URLs nobody knows yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstMember {
    /// From its peer URLs and the token.
    pub id: MemberId,
    /// As listed.
    pub name: String,
    /// Where other members reach it; never empty, sorted.
    pub peer_urls: Vec<String>,
}

/// What `--initial-cluster` says: each first member's name and peer URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialCluster {
    members: BTreeMap<String, Vec<Url>>,
}

/// Why a list of first members cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitialClusterError {
    /// An entry is not `name=URL`.
    #[error("\"{0}\" is not of the form name=http://host:port")]
    Entry(String),
    /// The URL of an entry is malformed.
    #[error("{0}")]
    Url(#[from] UrlError),
    /// Two entries have the same URL.
    #[error("initial cluster {0} has duplicate url")]
    DuplicateUrl(String),
    /// The member that reads it is not in it.
    #[error("couldn't find local name \"{0}\" in the initial cluster configuration")]
    LocalName(String),
    /// It lists a URL of this member which this member does not advertise.
    #[error(
        "--initial-cluster has {missing} but missing from --initial-advertise-peer-urls={advertised}"
    )]
    NotAdvertised {
        /// `name=URL` of what is missing.
        missing: String,
        /// What is advertised.
        advertised: String,
    },
    /// This member advertises a URL that is not listed.
    #[error(
        "--initial-advertise-peer-urls has {missing} but missing from --initial-cluster={cluster}"
    )]
    NotListed {
        /// What is missing.
        missing: String,
        /// What is listed for this member.
        cluster: String,
    },
}

impl InitialCluster {
    /// Reads `m1=http://h1:2380,m2=http://h2:2380`; a name may come several times, with one URL
    /// each.
    pub fn parse(text: &str) -> Result<Self, InitialClusterError> {
        let mut members: BTreeMap<String, Vec<Url>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for entry in text.split(',').map(str::trim) {
            let (name, url) = entry
                .split_once('=')
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| InitialClusterError::Entry(entry.to_owned()))?;
            let url = Url::parse(url)?;
            if !seen.insert(url.clone()) {
                return Err(InitialClusterError::DuplicateUrl(text.to_owned()));
            }
            members.entry(name.to_owned()).or_default().push(url);
        }
        for urls in members.values_mut() {
            urls.sort_unstable();
        }
        Ok(Self { members })
    }

    /// Checks that the member `name`, which advertises `advertised`, is listed just so.
    pub fn check_local(&self, name: &str, advertised: &[Url]) -> Result<(), InitialClusterError> {
        let listed = self
            .members
            .get(name)
            .ok_or_else(|| InitialClusterError::LocalName(name.to_owned()))?;
        let prefixed = |urls: &[&Url]| {
            urls.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(",")
        };
        let missing: Vec<&Url> = listed.iter().filter(|url| !advertised.contains(url)).collect();
        if !missing.is_empty() {
            return Err(InitialClusterError::NotAdvertised {
                missing: prefixed(&missing),
                advertised: join(advertised),
            });
        }
        let unlisted: Vec<Url> =
            advertised.iter().filter(|url| !listed.contains(url)).cloned().collect();
        if !unlisted.is_empty() {
            return Err(InitialClusterError::NotListed {
                missing: join(&unlisted),
                cluster: prefixed(&listed.iter().collect::<Vec<_>>()),
            });
        }
        Ok(())
    }

    /// The names, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// The first members, ascending by id.
    pub fn members(&self, token: &str) -> Vec<FirstMember> {
        let mut members: Vec<FirstMember> = self
            .members
            .iter()
            .map(|(name, urls)| {
                let peer_urls: Vec<String> =
                    urls.iter().map(|url| url.as_str().to_owned()).collect();
                let id = member_id(&peer_urls, token, None);
                FirstMember { id, name: name.clone(), peer_urls }
            })
            .collect();
        members.sort_unstable_by_key(|member| member.id);
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_members_are_read_from_one_line() {
        let line = "m2=http://b:2380,m1=http://a:2380,m1=http://a:1";
        let cluster = InitialCluster::parse(line).expect("is well formed");
        assert_eq!(cluster.names().collect::<Vec<_>>(), ["m1", "m2"]);
        let members = cluster.members("token");
        assert!(members.is_sorted_by_key(|member| member.id));
        let first = members.iter().find(|member| member.name == "m1").expect("is listed");
        assert_eq!(first.peer_urls, ["http://a:1", "http://a:2380"]);
        for (line, expected) in [
            ("", "\"\" is not of the form name=http://host:port"),
            ("m1", "\"m1\" is not of the form name=http://host:port"),
            ("m1=a:1", "URL scheme must be http, https, unix, or unixs: a:1"),
            (
                "m1=http://a:1,m2=http://a:1",
                "initial cluster m1=http://a:1,m2=http://a:1 has duplicate url",
            ),
        ] {
            let error = InitialCluster::parse(line).expect_err(line);
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_member_must_be_listed_as_it_advertises_itself() {
        let cluster = InitialCluster::parse("m1=http://a:1,m2=http://b:1").expect("well formed");
        for (name, advertised, expected) in [
            ("m1", "http://a:1", None),
            (
                "m3",
                "http://a:1",
                Some("couldn't find local name \"m3\" in the initial cluster configuration"),
            ),
            (
                "m1",
                "http://x:1",
                Some(
                    "--initial-cluster has m1=http://a:1 but missing from --initial-advertise-peer-urls=http://x:1",
                ),
            ),
            (
                "m1",
                "http://a:1,http://x:1",
                Some(
                    "--initial-advertise-peer-urls has http://x:1 but missing from --initial-cluster=m1=http://a:1",
                ),
            ),
        ] {
            let advertised = Url::parse_list(advertised).expect("well formed");
            let seen = cluster.check_local(name, &advertised).err().map(|error| error.to_string());
            assert_eq!(seen.as_deref(), expected);
        }
    }
}
