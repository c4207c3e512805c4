//! Both machines against each other, with a small KDC between them and a network that
//! loses, repeats, delays and mangles, all from one seed.

mod abuse;
mod faults;
mod handshake;
mod world;
