//! Mistakes that the code might make: the simulation must find each of them.

/// A mistake that is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controller::simulation) enum Bug {
    /// A write is not held against the fence.
    NoFence,
    /// A build of another host is taken for dead at once.
    NeverWaits,
    /// A build is taken for dead in half of the time.
    Impatient,
    /// A build is given up without a look whether it has given a sign of life at the last moment.
    GivesUpBlindly,
    /// A build that is given up is not told so.
    NeverTold,
    /// A record is written before the tags are on the image.
    RecordsBeforeTags,
    /// An image is looked for only where Packer says that it was made.
    TrustsTheExit,
    /// What a failed build left is not removed.
    LeavesThings,
    /// Only builds of this process are followed.
    NeverResumes,
    /// The look whether the lease still holds is left out where a build starts.
    StartsWithoutLease,
    /// A new build begins while what the last one left could not be removed, and takes its place in
    /// the journal.
    ForgetsLeftovers,
    /// The sweep takes an image for nobody's by its name alone.
    SweepsRecordedImages,
    /// A holder acts until somebody tells it that its lease is another's.
    ActsAfterItsTime,
    /// An image is taken over by its name, whoever made it.
    TakesWhatHasTheName,
    /// What has a failed build's name is removed, whoever made it.
    RemovesWhatHasTheName,
    /// A Packer whose build was given up is asked to end when its image is there already: it
    /// removes that.
    AsksThePackerOfALostBuild,
    /// Whoever bears the same name is taken for the same host.
    TrustsTheName,
}

impl Bug {
    /// All of them, each with the seed from which it is looked for. Should the world be changed, a
    /// search with more seeds (`RECONCILER_TEST_SEEDS`) tells where to begin.
    pub(in crate::controller::simulation) const ALL: [(Self, u64); 17] = [
        (Self::NoFence, 0),
        (Self::NeverWaits, 0),
        (Self::Impatient, 0),
        (Self::GivesUpBlindly, 12_900),
        (Self::NeverTold, 250),
        (Self::RecordsBeforeTags, 0),
        (Self::TrustsTheExit, 0),
        (Self::LeavesThings, 0),
        (Self::NeverResumes, 0),
        (Self::StartsWithoutLease, 0),
        (Self::ForgetsLeftovers, 0),
        (Self::SweepsRecordedImages, 0),
        (Self::ActsAfterItsTime, 0),
        (Self::TakesWhatHasTheName, 0),
        (Self::RemovesWhatHasTheName, 0),
        (Self::AsksThePackerOfALostBuild, 0),
        (Self::TrustsTheName, 0),
    ];
}
