//! Arguments of the verbs on resources, one enum a noun.

use clap::{Args, Subcommand};

/// `topic`.
#[derive(Debug, Subcommand)]
pub enum TopicVerb {
    /// Make or change a topic.
    Put(Box<TopicPut>),
    /// Show one.
    Get {
        #[doc = "Its name."]
        name: String,
    },
    /// Show what is in force for its events, and who set it.
    Qos {
        #[doc = "Its name."]
        name: String,
        #[doc = "Schemas that the event names, `order:3 customer`."]
        #[arg(long)]
        schemas: Option<String>,
        #[doc = "What the event asks for."]
        #[arg(long)]
        durability: Option<String>,
        #[doc = "The subscription that it is asked for: its id."]
        #[arg(long)]
        subscription: Option<String>,
    },
    /// Show all.
    List,
    /// Delete one.
    Delete {
        #[doc = "Its name."]
        name: String,
    },
}

/// `topic put`. Flags win over the file.
#[derive(Debug, Args)]
pub struct TopicPut {
    /// Its name.
    pub name: String,
    /// The body, JSON or YAML; `-` is standard input.
    #[arg(long)]
    pub file: Option<String>,
    /// Number of partitions.
    #[arg(long)]
    pub partitions: Option<u32>,
    /// A schema that events must hold to; may be repeated.
    #[arg(long)]
    pub schema: Vec<String>,
    /// Refuse events that name no schema.
    #[arg(long)]
    pub schema_required: bool,
    /// `reject` or `dead_letter`.
    #[arg(long)]
    pub on_refusal: Option<String>,
    /// `none`, `log` or `sync`.
    #[arg(long)]
    pub durability: Option<String>,
    /// Time to live, `24h`.
    #[arg(long)]
    pub ttl: Option<String>,
    /// Age after which events are dropped, `7d`.
    #[arg(long)]
    pub retention_age: Option<String>,
    /// Size above which the oldest events are dropped, `10GiB`.
    #[arg(long)]
    pub retention_bytes: Option<String>,
    /// Window for duplicates, `10m`.
    #[arg(long)]
    pub dedup_window: Option<String>,
    /// Through how many Posthorns an event may have come.
    #[arg(long)]
    pub max_hops: Option<u32>,
    /// Do not wait until all nodes know.
    #[arg(long)]
    pub no_wait: bool,
}

/// `schema`.
#[derive(Debug, Subcommand)]
pub enum SchemaVerb {
    /// Register a version.
    Add(SchemaAdd),
    /// Show a schema, or one version of it.
    Get {
        #[doc = "Its name."]
        name: String,
        #[doc = "A version's number, or `latest`."]
        version: Option<String>,
    },
    /// Show all.
    List,
    /// Say whether a version would be accepted; exit 1 when not.
    Check(SchemaCheck),
    /// Set how new versions must fit the earlier ones.
    SetCompatibility {
        #[doc = "Its name."]
        name: String,
        #[doc = "none, backward, forward, full, backward_transitive, forward_transitive or full_transitive."]
        mode: String,
        #[doc = "Do not wait until all nodes know."]
        #[arg(long)]
        no_wait: bool,
    },
    /// Tell publishers not to use a version any more.
    Deprecate {
        #[doc = "Its name."]
        name: String,
        #[doc = "The version's number."]
        version: u32,
        #[doc = "What publishers are told; left out, the version is not deprecated any more."]
        message: Option<String>,
        #[doc = "Do not wait until all nodes know."]
        #[arg(long)]
        no_wait: bool,
    },
    /// Delete a version, or a schema with all its versions.
    Delete {
        #[doc = "Its name."]
        name: String,
        #[doc = "The version's number; all versions when left out."]
        version: Option<u32>,
    },
}

/// `schema add`.
#[derive(Debug, Args)]
pub struct SchemaAdd {
    /// Its name.
    pub name: String,
    /// The JSON Schema, or a body with it as `schema`; JSON or YAML; `-` is standard input.
    #[arg(long)]
    pub file: String,
    #[command(flatten)]
    pub members: SchemaMembers,
    /// Check only.
    #[arg(long)]
    pub dry_run: bool,
    /// Also validate so many stored events and report.
    #[arg(long)]
    pub sample: Option<u32>,
    /// Add it although its compatibility cannot be decided.
    #[arg(long = "override")]
    pub override_undecided: bool,
    /// Do not wait until all nodes know.
    #[arg(long)]
    pub no_wait: bool,
}

/// `schema check FILE --against NAME`, or `schema check NAME --file FILE`.
#[derive(Debug, Args)]
pub struct SchemaCheck {
    /// With `--against` the file, else the schema's name.
    #[arg(value_name = "FILE|NAME")]
    pub target: String,
    /// The schema whose versions it must fit; by its own mode, or `backward` when it has none.
    #[arg(long, conflicts_with = "file", required_unless_present = "file")]
    pub against: Option<String>,
    /// The JSON Schema, or a body with it as `schema`; JSON or YAML; `-` is standard input.
    #[arg(long)]
    pub file: Option<String>,
    /// The mode to check by instead of the schema's own.
    #[arg(long)]
    pub compatibility: Option<String>,
    #[command(flatten)]
    pub members: SchemaMembers,
    /// Also validate so many stored events.
    #[arg(long)]
    pub sample: Option<u32>,
}

/// Members of a version beside its document.
#[derive(Debug, Args)]
pub struct SchemaMembers {
    /// Time to live of its events.
    #[arg(long)]
    pub ttl: Option<String>,
    /// `none`, `log` or `sync`.
    #[arg(long)]
    pub durability: Option<String>,
    /// `allow` or `never`.
    #[arg(long)]
    pub dead_letter: Option<String>,
    /// `reject` or `dead_letter`.
    #[arg(long)]
    pub on_refusal: Option<String>,
    /// Let `format` assert.
    #[arg(long)]
    pub assert_formats: bool,
    /// Also when filters read what it no longer names.
    #[arg(long)]
    pub force: bool,
}

/// `subscription`. `ID` may also be a subscription's name.
#[derive(Debug, Subcommand)]
pub enum SubscriptionVerb {
    /// Make one.
    Create(Box<SubscriptionCreate>),
    /// Show one.
    Get {
        #[doc = "Id or name."]
        id: String,
    },
    /// Show all.
    List,
    /// Delete one.
    Delete {
        #[doc = "Id or name."]
        id: String,
        #[doc = "Do not wait until all nodes know."]
        #[arg(long)]
        no_wait: bool,
    },
    /// Stop delivering.
    Pause {
        #[doc = "Id or name."]
        id: String,
        #[doc = "Do not wait until all nodes know."]
        #[arg(long)]
        no_wait: bool,
    },
    /// Deliver again.
    Resume {
        #[doc = "Id or name."]
        id: String,
        #[doc = "Do not wait until all nodes know."]
        #[arg(long)]
        no_wait: bool,
    },
    /// Send a test event to the endpoint.
    Test {
        #[doc = "Id or name."]
        id: String,
    },
    /// Deliver a range again.
    Replay {
        #[doc = "Id or name."]
        id: String,
        #[doc = "A cursor or a time."]
        #[arg(long)]
        from: String,
        #[doc = "A cursor or a time; now when left out."]
        #[arg(long)]
        to: Option<String>,
        #[doc = "Deliveries a second of this replay."]
        #[arg(long)]
        rate: Option<f64>,
    },
    /// List replays, or show one.
    Replays {
        #[doc = "Id or name."]
        id: String,
        #[doc = "The replay, `rpl_…`; all when left out."]
        replay: Option<String>,
    },
    /// End a replay, with what of it waits.
    CancelReplay {
        #[doc = "Id or name."]
        id: String,
        #[doc = "The replay, `rpl_…`."]
        replay: String,
    },
    /// Make a new signing secret and show it once.
    RotateSecret {
        #[doc = "Id or name."]
        id: String,
        #[doc = "How long the old one is used beside it."]
        #[arg(long)]
        overlap: Option<String>,
    },
}

/// `subscription create`. Flags win over the file.
#[derive(Debug, Args)]
pub struct SubscriptionCreate {
    /// The body, JSON or YAML; `-` is standard input.
    #[arg(long)]
    pub file: Option<String>,
    /// Its name.
    #[arg(long)]
    pub name: Option<String>,
    /// Its owner.
    #[arg(long)]
    pub owner: Option<String>,
    /// The topic.
    #[arg(long)]
    pub topic: Option<String>,
    /// A CESQL expression; may be repeated, all must hold.
    #[arg(long)]
    pub sql: Vec<String>,
    /// The endpoint.
    #[arg(long)]
    pub url: Option<String>,
    /// `binary`, `structured`, `batch` or `data`.
    #[arg(long)]
    pub format: Option<String>,
    /// Time for one attempt, `10s`.
    #[arg(long)]
    pub timeout: Option<String>,
    /// `whsec_…`; made when left out.
    #[arg(long)]
    pub secret: Option<String>,
    /// `key` keeps the order of events of one key.
    #[arg(long)]
    pub ordering: Option<String>,
    /// Deliveries in flight.
    #[arg(long)]
    pub in_flight: Option<u32>,
    /// Deliveries a second.
    #[arg(long)]
    pub rate: Option<u32>,
    /// `latest`, `earliest` or a cursor.
    #[arg(long)]
    pub start: Option<String>,
    /// Do not wait until all nodes know.
    #[arg(long)]
    pub no_wait: bool,
}

/// `dead-letter`.
#[derive(Debug, Subcommand)]
pub enum DeadLetterVerb {
    /// Show them.
    List(DeadLetterFilter),
    /// Show one.
    Get {
        #[doc = "Its id."]
        id: String,
    },
    /// Deliver again: one, or all that the filter takes.
    Retry {
        #[doc = "Its id."]
        id: Option<String>,
        #[doc = "Hold refused events to these schemas instead, `order:4`."]
        #[arg(long)]
        validate_with: Option<String>,
        #[command(flatten)]
        filter: DeadLetterFilter,
    },
    /// Remove: one, or all that the filter takes.
    Purge {
        #[doc = "Its id."]
        id: Option<String>,
        #[command(flatten)]
        filter: DeadLetterFilter,
    },
}

/// Which dead letters.
#[derive(Debug, Args)]
pub struct DeadLetterFilter {
    /// Of this topic.
    #[arg(long)]
    pub topic: Option<String>,
    /// Of this subscription.
    #[arg(long)]
    pub subscription: Option<String>,
    /// With this reason.
    #[arg(long)]
    pub reason: Option<String>,
    /// All; needed to retry or purge without any other filter.
    #[arg(long)]
    pub all: bool,
}

/// `delivery`.
#[derive(Debug, Subcommand)]
pub enum DeliveryVerb {
    /// Show them.
    List {
        #[doc = "Of this subscription."]
        #[arg(long)]
        subscription: Option<String>,
        #[doc = "Of this topic."]
        #[arg(long)]
        topic: Option<String>,
        #[doc = "In this state."]
        #[arg(long)]
        status: Option<String>,
        #[doc = "Of this event."]
        #[arg(long)]
        event_id: Option<String>,
    },
    /// Show one with its attempts.
    Get {
        #[doc = "Its id."]
        id: String,
    },
}

/// `node`.
#[derive(Debug, Subcommand)]
pub enum NodeVerb {
    /// Show them with what they have acknowledged.
    List,
}
