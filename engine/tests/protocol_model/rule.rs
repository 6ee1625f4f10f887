//! The rules of the protocol, each by the bug that breaks it.

/// A deliberate bug: one rule of the protocol broken.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Bug {
    CommitBeforeSync,
    NoAlignment,
    RecommitBlindly,
    NoRecommit,
    LatePosition,
    NoFence,
    FenceAfterRead,
    ZombieAppendAccepted,
    StaleStagedFile,
    AckBeforeFileSync,
    RecommitLastOnly,
    TruncateUndelivered,
    TruncateUnapplied,
    TruncateLast,
    UncommittedInStore,
    AppliedApart,
    DeliveredTrusted,
    UnknownIsFailure,
    UnknownIsSuccess,
    ReadWithoutFence,
    StaleRecords,
    AppendAfterTorn,
    EndedSourceSilent,
    BlobMissing,
    CommitWithoutAllAcks,
    NewestFirst,
    DeliveredBeforeDirectorySync,
    FinishBeforeDelivery,
    TailTrustedUnsynced,
    NameTrustedUnsynced,
    ZombieFencesBack,
    AcknowledgedUnsynced,
    AcknowledgedAsRead,
}

/// How much a run explores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) records: u8,
    pub(crate) crashes: u8,
    /// Commits of the token sink that may stay without an answer.
    pub(crate) unknowns: u8,
    /// A crash may leave the old generation alive.
    pub(crate) zombies: bool,
    /// Most epochs started and not committed.
    pub(crate) in_flight: u8,
    /// `Delivered` is recorded. Nothing reads it, so most runs leave it out.
    pub(crate) hints: bool,
}

impl Size {
    /// The sizes that have one thing less.
    pub(crate) fn smaller(self) -> Vec<Self> {
        let sizes = [
            Self { records: self.records.max(2) - 1, ..self },
            Self { crashes: self.crashes.saturating_sub(1), ..self },
            Self { unknowns: self.unknowns.saturating_sub(1), ..self },
            Self { zombies: false, ..self },
        ];
        sizes.into_iter().filter(|size| *size != self).collect()
    }
}

const fn size(records: u8, crashes: u8) -> Size {
    Size { records, crashes, unknowns: 0, zombies: false, in_flight: 1, hints: false }
}

const fn unknown(records: u8, crashes: u8) -> Size {
    Size { unknowns: 1, ..size(records, crashes) }
}

const fn zombie(records: u8, crashes: u8) -> Size {
    Size { zombies: true, ..size(records, crashes) }
}

/// What the correct protocol is checked with on every `cargo test`.
pub(crate) const SMALL: &[Size] = &[
    size(3, 1),
    Size { in_flight: 2, ..size(2, 2) },
    Size { unknowns: 1, in_flight: 2, ..zombie(2, 1) },
    Size { unknowns: 1, in_flight: 2, ..zombie(1, 3) },
    Size { unknowns: 2, hints: true, in_flight: 2, ..zombie(1, 2) },
];

/// What it is checked with when `HEADWATER_MODEL_SCALE` is set.
pub(crate) const LARGE: &[Size] =
    &[Size { unknowns: 1, in_flight: 2, ..zombie(2, 2) }, Size { unknowns: 1, ..zombie(3, 1) }, size(4, 1)];

/// Every bug with what it does and the smallest size that shows it.
pub(crate) const BUGS: &[(Bug, &str, Size)] = &[
    (Bug::CommitBeforeSync, "sinks commit before the log's sync", size(2, 1)),
    (Bug::NoAlignment, "the operator reads an input past its barrier", size(2, 1)),
    (Bug::RecommitBlindly, "restart commits again without reading the token", size(1, 1)),
    (Bug::NoRecommit, "restart does not commit what is pending", size(1, 1)),
    (Bug::LatePosition, "positions are taken at the ack, not at injection", size(2, 1)),
    (Bug::NoFence, "nothing shuts the zombie out of the sinks", zombie(1, 1)),
    (Bug::FenceAfterRead, "sinks are fenced after the log was read", zombie(1, 1)),
    (Bug::ZombieAppendAccepted, "an append of the old generation counts", zombie(1, 2)),
    (Bug::StaleStagedFile, "a staged file of an aborted attempt is appended to", size(1, 1)),
    (Bug::AckBeforeFileSync, "a sink acks before its staged file is synced", size(1, 1)),
    (Bug::RecommitLastOnly, "restart commits the newest pending epoch only", size(2, 1)),
    (Bug::TruncateUndelivered, "the log is cut above an undelivered epoch", size(2, 0)),
    (Bug::TruncateUnapplied, "the log is cut above the store's durable epoch", size(2, 1)),
    (Bug::TruncateLast, "the log is cut up to the delivered epoch itself", size(1, 0)),
    (Bug::UncommittedInStore, "the store gets deltas that are not committed", size(1, 1)),
    (Bug::AppliedApart, "applied_epoch becomes durable before its data", size(1, 1)),
    (Bug::DeliveredTrusted, "Delivered is written early and trusted", size(1, 1)),
    (Bug::UnknownIsFailure, "an unknown outcome is taken for a failure", unknown(1, 0)),
    (Bug::UnknownIsSuccess, "an unknown outcome is taken for a success", unknown(1, 0)),
    (Bug::ReadWithoutFence, "the token is read while the request may arrive", unknown(1, 0)),
    (Bug::StaleRecords, "records of the old generation count for a new epoch", size(2, 1)),
    (Bug::AppendAfterTorn, "appends follow a half-written record", size(1, 2)),
    (Bug::EndedSourceSilent, "an ended source takes no part in epochs", size(1, 0)),
    (Bug::BlobMissing, "the operator's blob is not in the delta", size(1, 1)),
    (Bug::CommitWithoutAllAcks, "an epoch commits without the ack of a sink", size(1, 0)),
    (Bug::NewestFirst, "a sink commits the newer of two epochs first", size(2, 0)),
    (Bug::DeliveredBeforeDirectorySync, "delivered before the rename is synced", size(1, 0)),
    (Bug::FinishBeforeDelivery, "finished at the log's commit, not the sinks'", size(1, 0)),
    (Bug::TailTrustedUnsynced, "restart trusts a log tail that is not synced", size(1, 2)),
    (Bug::NameTrustedUnsynced, "restart trusts a rename that is not synced", size(1, 1)),
    (Bug::AcknowledgedUnsynced, "senders are answered before the log's sync", size(1, 1)),
    (Bug::AcknowledgedAsRead, "senders are answered for what the epoch does not have", size(2, 1)),
    (Bug::ZombieFencesBack, "a fenced zombie takes the sink back", zombie(1, 1)),
];
