//! The veth pair by which the kernel routes for clients.

use std::net::Ipv4Addr;

use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
    LinkInfo, LinkMessage, LinkXdp, XdpAttached,
};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use rustix::io::Errno;

use super::{DeviceError, check_name, errno, find, look_up, over_netlink};
use crate::api::Device;
use crate::ring::ethtool;

/// The largest MTU with which native XDP attaches to a veth: the frame and the kernel's own data share one page.
pub const MAX_MTU: u16 = 3_498;
/// Usual name of the kernel's end.
pub const KERNEL_END: &str = "culvert0";
/// Usual name of our end.
pub const OUR_END: &str = "culvert1";

/// The pair of devices between the data plane and the kernel's routing; removed on drop.
#[derive(Debug)]
pub struct VethPair {
    kernel: Device,
    ours: Device,
}

impl VethPair {
    /// Makes a pair with `queues` queues at each end and sets both up, in place of one that a killed gateway left.
    ///
    /// `mtu`: at most [`MAX_MTU`]. The kernel's end asks for no neighbours and finishes its packets. Our end has no address, not even one of IPv6's own making.
    ///
    /// # Errors
    /// [`DeviceError`], whose text says what to do; then there is no pair.
    pub fn create(
        kernel_end: &str,
        our_end: &str,
        queues: u32,
        mtu: u16,
    ) -> Result<Self, DeviceError> {
        check_name(kernel_end)?;
        check_name(our_end)?;
        if mtu > MAX_MTU {
            return Err(DeviceError::MtuTooLarge(mtu));
        }
        over_netlink(async |handle| {
            remove_leftover(&handle, kernel_end, our_end).await?;
            handle
                .link()
                .add(pair(kernel_end, our_end, queues, mtu))
                .execute()
                .await
                .map_err(DeviceError::from)
        })?;
        // From here on the pair is removed if a step fails.
        let pair = Self {
            kernel: look_up(kernel_end)?.device,
            ours: look_up(our_end)?.device,
        };
        ethtool::finish_packets(kernel_end)?;
        over_netlink(async |handle| {
            keep_silent(&handle, &pair.ours).await?;
            set_up(&handle, &pair.ours).await?;
            set_up(&handle, &pair.kernel).await
        })?;
        Ok(pair)
    }

    /// The kernel's end.
    pub const fn kernel(&self) -> &Device {
        &self.kernel
    }

    /// Our end, for AF_XDP.
    pub const fn ours(&self) -> &Device {
        &self.ours
    }

    /// Makes the kernel send packets for a client pool to us; the route goes with the pair.
    ///
    /// # Errors
    /// [`DeviceError::RouteExists`], or what the system says.
    pub fn add_route(&self, network: Ipv4Addr, prefix: u8) -> Result<(), DeviceError> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(network, prefix)
            .output_interface(self.kernel.index)
            .scope(RouteScope::Link)
            .build();
        over_netlink(
            async |handle| match handle.route().add(route).execute().await {
                Err(error) if errno(&error) == Some(Errno::EXIST) => {
                    Err(DeviceError::RouteExists(network, prefix))
                }
                result => result.map_err(DeviceError::from),
            },
        )
    }
}

impl Drop for VethPair {
    fn drop(&mut self) {
        let index = self.kernel.index;
        if let Err(error) = over_netlink(async |handle| remove(&handle, index).await) {
            tracing::warn!(device = self.kernel.name, %error, "the veth pair is left behind");
        }
    }
}

fn pair(kernel_end: &str, our_end: &str, queues: u32, mtu: u16) -> LinkMessage {
    let ours = LinkUnspec::new_with_name(our_end)
        .mtu(mtu.into())
        .append_extra_attribute(LinkAttribute::NumRxQueues(queues))
        .append_extra_attribute(LinkAttribute::NumTxQueues(queues))
        .build();
    LinkMessageBuilder::<LinkVeth>::new(kernel_end, our_end)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(ours)))
        .mtu(mtu.into())
        .arp(false)
        .append_extra_attribute(LinkAttribute::NumRxQueues(queues))
        .append_extra_attribute(LinkAttribute::NumTxQueues(queues))
        .build()
}

/// Makes no IPv6 address for a device: the kernel is not to speak or answer on our end.
async fn keep_silent(handle: &Handle, device: &Device) -> Result<(), DeviceError> {
    let no_address = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    let change = LinkUnspec::new_with_index(device.index)
        .append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(
            vec![no_address],
        )]))
        .build();
    let result = handle.link().change(change).execute().await;
    match result {
        // A kernel without IPv6 knows no such mode, and needs none.
        Err(error) if errno(&error) == Some(Errno::AFNOSUPPORT) => Ok(()),
        result => result.map_err(DeviceError::from),
    }
}

async fn set_up(handle: &Handle, device: &Device) -> Result<(), DeviceError> {
    let change = LinkUnspec::new_with_index(device.index).up().build();
    handle
        .link()
        .change(change)
        .execute()
        .await
        .map_err(DeviceError::from)
}

/// Removes a pair of these names that no XDP program uses: its gateway was killed. Anything else of these names is left alone.
async fn remove_leftover(
    handle: &Handle,
    kernel_end: &str,
    our_end: &str,
) -> Result<(), DeviceError> {
    let (kernel, ours) = match (
        find(handle, kernel_end).await?,
        find(handle, our_end).await?,
    ) {
        (None, None) => return Ok(()),
        (Some(kernel), Some(ours)) if are_pair(&kernel, &ours) => (kernel, ours),
        (Some(_), _) => return Err(DeviceError::NameTaken(kernel_end.to_owned())),
        (None, Some(_)) => return Err(DeviceError::NameTaken(our_end.to_owned())),
    };
    if kernel
        .attributes
        .iter()
        .chain(&ours.attributes)
        .any(has_program)
    {
        return Err(DeviceError::InUse(our_end.to_owned()));
    }
    tracing::info!(
        kernel_end,
        our_end,
        "replacing a veth pair that a killed gateway left"
    );
    remove(handle, kernel.header.index).await
}

fn are_pair(one: &LinkMessage, other: &LinkMessage) -> bool {
    let peer = LinkAttribute::Link(other.header.index);
    one.attributes.iter().any(is_veth) && one.attributes.contains(&peer)
}

fn is_veth(attribute: &LinkAttribute) -> bool {
    matches!(attribute, LinkAttribute::LinkInfo(infos) if infos.contains(&LinkInfo::Kind(InfoKind::Veth)))
}

fn has_program(attribute: &LinkAttribute) -> bool {
    let runs = |xdp: &LinkXdp| matches!(xdp, LinkXdp::Attached(attached) if *attached != XdpAttached::None);
    matches!(attribute, LinkAttribute::Xdp(xdp) if xdp.iter().any(runs))
}

/// Removes a device; one that is gone already is as well.
async fn remove(handle: &Handle, index: u32) -> Result<(), DeviceError> {
    match handle.link().del(index).execute().await {
        Err(error) if errno(&error) == Some(Errno::NODEV) => Ok(()),
        result => result.map_err(DeviceError::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mtu_beyond_native_xdp_is_refused() {
        let refused = VethPair::create(KERNEL_END, OUR_END, 1, MAX_MTU + 1);
        assert!(matches!(refused, Err(DeviceError::MtuTooLarge(3_499))));
    }
}
