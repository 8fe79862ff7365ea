//! Where the nodes of a fleet can be reached by one another.

use std::net::SocketAddr;

use async_trait::async_trait;

/// Nodes by a name that each process makes anew, under a lease that ends soon after it does. What is
/// found here may have died a moment ago: whoever calls has to live with that.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// From now on others find this process under `name` (without spaces) at `address`, until
    /// [`Self::withdraw`]; called once. An unspecified IP (`0.0.0.0`) stands for the one that this
    /// host has towards the fleet. Returns once others will find it, or the network is away.
    async fn announce(&self, name: &str, address: SocketAddr);

    /// Where the process with this name is; `None` if none is alive. Answers from memory as a rule,
    /// and within half a second in any case. While the network is away it goes by what it knew.
    async fn find(&self, name: &str) -> Option<SocketAddr>;

    /// All processes that are alive, by name.
    ///
    /// # Errors
    /// Nobody can be asked; the text says why.
    async fn all(&self) -> Result<Vec<(String, SocketAddr)>, String>;

    /// This process is about to end, and not to be found any more.
    async fn withdraw(&self);
}
