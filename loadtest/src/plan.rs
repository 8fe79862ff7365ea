//! Who of the cast is played by which worker.

use crate::address::{Address, Trust};
use crate::control::{Plan, RoomPlan, SeatPlan, SocketPlan, share};
use crate::scenario::Scenario;
use crate::setup::Cast;
use crate::target::Target;

/// Divides sockets among workers, so that each has a share of each group and rooms lie together.
pub(crate) fn divide(
    scenario: &Scenario,
    target: &Target,
    casts: &[Cast],
    workers: usize,
    (addresses, trust): (&[Address], &Trust),
    sources: &[String],
) -> Vec<Plan> {
    let mut rooms = Vec::new();
    let mut sockets: Vec<Vec<SocketPlan>> = (0..workers).map(|_| Vec::new()).collect();
    for (g, (group, cast)) in scenario.groups.iter().zip(casts).enumerate() {
        let first_room = rooms.len();
        let senders = group.talk.as_ref().map_or(0, |talk| talk.senders);
        rooms.extend(cast.rooms.iter().map(|id| RoomPlan {
            id: id.clone(),
            senders: senders as u32,
        }));
        // Where nobody talks, sockets need no seats: there is nothing to check.
        let watched = group.talk.is_some() || !group.emit.is_empty() || !target.join.is_empty();
        let mut places: Vec<Vec<(u32, usize)>> = vec![Vec::new(); cast.people.len()];
        for room in (0..group.rooms).filter(|_| watched) {
            for place in 0..group.members {
                let person = Cast::member(group, room, place);
                places[person].push(((first_room + room) as u32, place));
            }
        }
        for (p, person) in cast.people.iter().enumerate() {
            for device in 0..group.devices {
                let seats = places[p].iter().map(|(room, place)| SeatPlan {
                    room: *room,
                    sender: (device == 0 && *place < senders).then_some(*place as u32),
                });
                sockets[p * workers / cast.people.len()].push(SocketPlan {
                    user: person.id.clone(),
                    token: person.token.clone(),
                    group: g,
                    seats: seats.collect(),
                });
            }
        }
    }
    let plan = |(index, sockets)| Plan {
        addresses: addresses.to_vec(),
        trust: trust.clone(),
        sources: sources.to_vec(),
        target: target.clone(),
        scenario: Scenario {
            run: share(&scenario.run, workers, index),
            ..scenario.clone()
        },
        sockets,
        rooms: rooms.clone(),
    };
    sockets.into_iter().enumerate().map(plan).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Group, Talk, Timing};
    use crate::setup::Person;

    #[test]
    fn everybody_sits_in_their_rooms_once() {
        let group = Group {
            name: "g".into(),
            rooms: 6,
            members: 4,
            rooms_each: 2,
            devices: 2,
            nodes: Vec::new(),
            polling: 0.0,
            talk: Some(Talk {
                senders: 3,
                bytes: 128,
                per_second: Some(1.0),
                in_flight: None,
                until: Default::default(),
            }),
            emit: Vec::new(),
            cut: None,
            stall: None,
        };
        let cast = Cast {
            people: vec![Person::default(); group.people()],
            rooms: (0..6).map(|r| r.to_string()).collect(),
        };
        let scenario = Scenario {
            name: String::new(),
            about: String::new(),
            run: Timing::default(),
            groups: vec![group],
            happenings: Vec::new(),
            limits: Default::default(),
        };
        let target = Target::read(None).unwrap();
        let plans = divide(
            &scenario,
            &target,
            &[cast],
            3,
            (&[], &Trust::default()),
            &[],
        );
        let sockets: Vec<_> = plans.iter().flat_map(|plan| &plan.sockets).collect();
        assert_eq!(sockets.len(), 12 * 2);
        assert!(sockets.iter().all(|socket| socket.seats.len() == 2));
        let seats = || sockets.iter().flat_map(|socket| &socket.seats);
        for room in 0..6 {
            let here = seats().filter(|seat| seat.room == room);
            assert_eq!(here.clone().count(), 4 * 2);
            let mut senders: Vec<_> = here.filter_map(|seat| seat.sender).collect();
            senders.sort_unstable();
            assert_eq!(senders, [0, 1, 2]);
        }
        assert!(plans.iter().all(|plan| plan.sockets.len() == 8));
    }
}
