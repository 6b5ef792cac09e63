/** Every bound in one place. Bytes are bytes, times are milliseconds. */
export const LIMITS = {
  /** Encoded changes that may wait between source and compactor before the socket is paused. */
  changeLogBytes: 8 * 1024 * 1024,
  /** A transaction part is handed on when it reaches this size. */
  partBytes: 256 * 1024,
  /** An Avro block is closed when its rows reach this size. Larger blocks compress better and cost memory. */
  blockBytes: 1024 * 1024,
  /** A transaction above this size gets segments of its own, so that earlier ones become durable in time. */
  largeTransactionBytes: 1024 * 1024,
  /** Segments that may be compressed, encrypted or written at once. */
  segmentsInFlight: 2,
  /** A segment above this, before compression, is stored before the next one is filled: it has one large row. */
  largeSegmentBytes: 96 * 1024 * 1024,
  /** Blocks that may be compressed at once: the machine's worker threads. */
  compressionsInFlight: 4,
  /** Bytes that may wait for it, of large rows. */
  compressionBytes: 16 * 1024 * 1024,
  /** Encoded bytes of a base part object. */
  basePartBytes: 32 * 1024 * 1024,
  /** Connections that copy a base, and that load a target. */
  copyConnections: 2,
  /** Changes of all tables kept in memory while folding; beyond it they are partitioned on disk. */
  foldBytes: 256 * 1024 * 1024,
  /** Ledger entries between two checkpoints: what an opening reads one by one. */
  checkpointEntries: 1024,
  /** An index page of the ledger, before compression. */
  pageBytes: 4 * 1024 * 1024,
  /** A writer looks this often whom it has to seal for. */
  recipientsMs: 60_000,
  /** The ledger's head is anchored this often. */
  anchorMs: 60_000,
  /** Objects that are taken away, or locked, at once. */
  purgesInFlight: 16,
  /** What no ledger entry names is taken for given up after this: longer than any upload. */
  unnamedMs: 48 * 3600 * 1000,
  /** A store whose clock differs by more has nothing taken away. */
  skewMs: 60_000,
  /** A request to a store that nothing moves in for so long has failed, its tries again included. */
  storeSilenceMs: 56_000,
  /** A reader with copies does not wait longer for one store to say how far it reaches, once another has. */
  copyAskMs: 10_000,
  /** For the answer of a mirrored copy whether it is one still, behind each entry of the ledger. */
  copyAnswerMs: 3_000,
  /** A restore holds what it needs for so long, and again and again while it runs. */
  restoreHoldMs: 24 * 3600 * 1000,
  /** Scrubbing and locks are looked at this often. */
  upkeepMs: 3600 * 1000,
  /** And so long after a start, or where another process does it. */
  upkeepPauseMs: 60_000,
  connectMs: 15_000,
  /** How long a stop may take before what is left is dropped (never acknowledged). */
  drainMs: 25_000,
  /** And how long what is told to leave may take before it is left behind. */
  leaveMs: 30_000,
  /** Pauses between tries: doubles from the first to the second. */
  backoffMs: [200, 15_000] as const,
  /** A heartbeat entry is written this often while the source is idle. */
  heartbeatMs: 60_000,
  /** The first one of a stream: whoever starts Tidemark at a source that writes nothing sees soon that all is durable. */
  firstHeartbeatMs: 2_000,
  /** Changes that are not durable so long after the roll age are no longer protected. */
  protectedMs: 30_000,
  /** Every so manieth sample of the sequences holds all of them; the others what changed. */
  fullSampleEvery: 32,
  /** Sequences that were never called and are read one by one with each sample, where the server is older than 18. */
  uncalledSequences: 1000,
  /**
   * A connection to the source that says nothing for the first is asked about for at most the second, and looked at once more after
   * the third: a dead one is noticed within a minute.
   */
  silence: { silenceMs: 30_000, askMs: 10_000, lookMs: 3_000 },
  /** A look at what a source sends once more takes no longer, and holds no larger row. */
  historyLook: { limitMs: 10_000, largestRow: 8 * 1024 * 1024 },
  /** Small questions to the source that wait for their turn: each of the few who ask waits for its answer. */
  waitingQuestions: 32,
  /** What metrics say of the source is asked this often, the second time after `firstMs`, and counts for `trustMs` where no answer comes. */
  /** Looking for what the next start would refuse of the source: some questions to its catalog. */
  sourceFitness: { firstMs: 15_000, everyMs: 60_000 },
  sourceGauge: { everyMs: 10_000, firstMs: 1_000, trustMs: 30_000 },
  /** ALTERs of ours wait at most this long for a lock, then give way and try again. */
  lockWaitMs: 2_000,
  /** How long a reading of the schema tries again where another session has a lock of something that it prints. */
  catalogLockMs: 3_600_000,
  /** And for one that readers wait behind: as in sql/identity.sql. */
  tableLockMs: 100,
  tableLockPauseMs: 250,
  /** Gaps of tables that one snapshot closes: what it holds at the source while it lasts is bounded. */
  gapsOfOneCopy: 1000,
  /** A table whose copy met a row too large to be taken is copied again after the first; the pause doubles up to the second. */
  refusedCopyMs: [5_000, 1_800_000],
  /** What the stream has of each table is looked at this often. */
  identityPollMs: 2_000,
  /** Pauses between tries for a lock on one table: doubles from the first to the second. */
  identityBackoffMs: [2_000, 10_000],
} as const
