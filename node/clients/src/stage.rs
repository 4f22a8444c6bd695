//! The members, and clients of each of them.

use anyhow::{Context as _, Result, ensure};
use etcd_client::{Client, ConnectOptions};

use crate::tape;

/// Members that run at the beginning.
pub(crate) const FIRST: usize = 3;

/// Places of members, with those that join.
const PLACES: usize = 5;

/// Where members are. Places count from 1.
pub(crate) struct Stage {
    client_urls: Vec<String>,
    peer_urls: Vec<String>,
}

impl Stage {
    /// Reads the arguments.
    pub(crate) fn new(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut client_urls: Vec<_> = arguments.collect();
        ensure!(client_urls.len() == 2 * PLACES, "five client URLs and five peer URLs are needed");
        let peer_urls = client_urls.split_off(PLACES);
        Ok(Self { client_urls, peer_urls })
    }

    /// Where a member is reached by the others.
    pub(crate) fn peer(&self, place: usize) -> String {
        self.peer_urls[place - 1].clone()
    }

    /// A client that asks this member and no other, so that it is known who answers.
    pub(crate) async fn client(&self, place: usize) -> Result<Box<Client>> {
        self.connect(place, ConnectOptions::new()).await
    }

    /// A client of a member; it asks only as long as that knows a leader.
    pub(crate) async fn strict_client(&self, place: usize) -> Result<Box<Client>> {
        self.connect(place, ConnectOptions::new().with_require_leader(true)).await
    }

    async fn connect(&self, place: usize, options: ConnectOptions) -> Result<Box<Client>> {
        let url = &self.client_urls[place - 1];
        let client = Client::connect([url], Some(options)).await;
        // It is large, and every call here is a future that holds some.
        client.map(Box::new).with_context(|| format!("reach {url}"))
    }

    /// Waits until the first members have applied all that is committed: what they then answer by
    /// themselves, without asking the others, is not left to chance.
    pub(crate) async fn level(&self) -> Result<()> {
        for place in 1..=FIRST {
            self.client(place).await?.get("level", None).await?;
        }
        Ok(())
    }

    /// The id of a member.
    pub(crate) async fn id(&self, place: usize) -> Result<u64> {
        let status = self.client(place).await?.status().await?;
        Ok(status.header().context("a status has a header")?.member_id())
    }

    /// Makes a member lead, and waits until the first three know; returns its id. Nothing of it is
    /// recorded: who led before is chance.
    pub(crate) async fn lead(&self, place: usize) -> Result<u64> {
        let mut clients = Vec::new();
        for place in 1..=FIRST {
            clients.push(self.client(place).await?);
        }
        let wanted = self.id(place).await?;
        tape::until("the leader that is wanted", async || {
            let mut agreed = 0;
            for client in &mut clients {
                let leader = client.status().await.ok()?.leader();
                if leader == wanted {
                    agreed += 1;
                }
            }
            if agreed == FIRST {
                return Some(());
            }
            for client in &mut clients {
                // All but one of them refuse, because they do not lead.
                client.move_leader(wanted).await.ok();
            }
            None
        })
        .await?;
        Ok(wanted)
    }
}
