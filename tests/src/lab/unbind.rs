//! Takes the socket of a living box's queue away: what a box looks like that has a queue more than
//! sockets. Owns the way from an interface to the map of its XDP program.

use aya::maps::{Map, MapData, MapInfo, XskMap};
use aya::programs::loaded_programs;

use super::veth::End;
use super::{LabError, LabResult};

/// The map of sockets by queue, as the XDP program names it.
const SOCKETS: &str = "xsks_map";

/// Leaves `queue` of a port without a socket; the box learns nothing of it until it starts anew.
pub fn unbind(port: End<'_>, queue: u32) -> LabResult {
    let program = program(port)?;
    let wrong = |what: &str| LabError::Expectation(format!("program {program}: {what}"));
    let info = loaded_programs()
        .filter_map(Result::ok)
        .find(|info| info.id() == program)
        .ok_or_else(|| wrong("it is not loaded"))?;
    let maps = info.map_ids().ok().flatten().unwrap_or_default();
    let is_sockets =
        |id: &u32| MapInfo::from_id(*id).is_ok_and(|info| info.name_as_str() == Some(SOCKETS));
    let id = maps.into_iter().find(is_sockets).ok_or_else(|| wrong("it has no such map"))?;
    let data = MapData::from_id(id).map_err(|error| wrong(&error.to_string()))?;
    let mut sockets =
        XskMap::try_from(Map::XskMap(data)).map_err(|error| wrong(&error.to_string()))?;
    sockets.unset(queue).map_err(|error| wrong(&error.to_string()))
}

/// The id of the XDP program on a port.
fn program(port: End<'_>) -> LabResult<u32> {
    let shown = port.namespace.ip(&format!("-d link show dev {}", port.name))?;
    let mut words = shown.split_whitespace().skip_while(|word| *word != "prog/xdp").skip(2);
    let id = words.next().and_then(|id| id.parse().ok());
    id.ok_or_else(|| LabError::Expectation(format!("no XDP program on {}: {shown}", port.name)))
}
