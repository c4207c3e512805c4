//! Configuration files into checked types, with line and column for every error.
//!
//! Owns the shape of the three files (gateway, client, kdc), their checks, their error messages, the difference
//! between two of them, and the generated reference. Opens no socket and no key file: whether a port exists or a
//! key can be read is for those who use it.

mod diff;
mod error;
mod names;
mod net;
mod parse;
mod read;
mod reference;
mod schema;
mod suggest;
#[cfg(test)]
mod tests;
mod types;

pub use diff::{Change, NeedsRestart, RestartItem, ServiceChange};
pub use error::{ConfigError, Diagnostic, Report};
pub use names::{DeviceName, NameError, ServicePattern};
pub use net::{IpPrefix, PortSet, PrefixError};
pub use reference::reference_markdown;
pub use types::{
    AdminConfig, CipherKernel, ClientConfig, Config, DeliveryConfig, DeviceConfig, FailMode,
    GatewayConfig, Hold, KdcAccess, KdcConfig, KdcGateway, KdcPermit, KdcTransport, LogConfig,
    LogLevel, MetricsConfig, NodeConfig, OptionsConfig, OtherConfig, OtherTraffic, PinConfig,
    Policy, PollMode, PortsConfig, Role, RxChecksum, ServiceConfig, WorkersConfig, XdpMode,
};
