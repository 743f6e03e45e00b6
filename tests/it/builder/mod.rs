//! What a build comes to: ends that the real Packer does not come to on demand, told by a
//! transcript, each with the decision, the journal, the record and what is left at EC2.

mod ends;
mod environment;
mod leftovers;
mod real;
mod supervised;
mod without_image;
