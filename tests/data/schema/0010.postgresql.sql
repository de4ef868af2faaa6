CREATE FUNCTION public.sched_idempotency_written() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO sched_request (digest, content, resource_id, expires_at, namespace_id, resource_name, refusal)
    VALUES (
      sched_request_digest(NEW.namespace_id, NEW.method, NEW.request_id),
      encode(substr(NEW.fingerprint, 1, 16), 'hex')::uuid,
      sched_request_resource(NEW.resource_id),
      NEW.expires_at,
      NEW.namespace_id,
      CASE WHEN sched_request_resource(NEW.resource_id) IS NULL THEN nullif(NEW.resource_id, '') END,
      NEW.refusal
    ); -- refused where a later server was faster
  ELSE
    DELETE FROM sched_request
    WHERE digest = sched_request_digest(OLD.namespace_id, OLD.method, OLD.request_id) AND expires_at = OLD.expires_at; -- or it is used again
  END IF; --
  RETURN NULL; --
END
$$;
CREATE FUNCTION public.sched_request_digest(namespace_id text, method text, request_id text) RETURNS uuid
    LANGUAGE sql IMMUTABLE
    AS $$
  SELECT encode(
    substr(sha256(convert_to(namespace_id, 'UTF8')), 1, 4)
    || substr(sha256(convert_to(namespace_id || chr(10) || method || chr(10) || request_id, 'UTF8')), 1, 12),
    'hex'
  )::uuid
$$;
CREATE FUNCTION public.sched_request_resource(resource_id text) RETURNS uuid
    LANGUAGE sql IMMUTABLE
    AS $$
  SELECT CASE
    WHEN translate(resource_id, '123456789abcdef', '000000000000000') = '00000000-0000-0000-0000-000000000000' THEN resource_id::uuid
  END
$$;
CREATE TABLE public.sched_agent (
    namespace_id character varying(63) NOT NULL,
    id character varying(63) NOT NULL,
    state_id character varying(64) NOT NULL,
    generation integer NOT NULL,
    status smallint NOT NULL,
    drained boolean NOT NULL,
    labels text NOT NULL,
    declared_labels text NOT NULL,
    serves text NOT NULL,
    executors text NOT NULL,
    slots integer NOT NULL,
    hostname character varying(255) NOT NULL,
    agent_version character varying(63) NOT NULL,
    protocol_version integer NOT NULL,
    session_id character varying(64) NOT NULL,
    replica_id character varying(64) NOT NULL,
    metrics text NOT NULL,
    connected_at bigint NOT NULL,
    last_beat_at bigint NOT NULL,
    version integer NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    resources text DEFAULT '{}'::text NOT NULL,
    CONSTRAINT ck_sched_agent_status CHECK ((status = ANY (ARRAY[1, 2, 3, 4, 5])))
);
CREATE TABLE public.sched_artifact (
    task_id uuid NOT NULL,
    token integer NOT NULL,
    name character varying(512) NOT NULL,
    digest character varying(64) NOT NULL,
    size bigint NOT NULL,
    content_type character varying(255) NOT NULL,
    content character varying(64) NOT NULL,
    stored bigint NOT NULL,
    complete boolean NOT NULL,
    named boolean NOT NULL,
    touched_at bigint NOT NULL,
    CONSTRAINT ck_sched_artifact_named CHECK ((complete OR (NOT named))),
    CONSTRAINT ck_sched_artifact_stored CHECK ((stored <= size))
);
CREATE TABLE public.sched_blob (
    digest character varying(64) NOT NULL,
    content character varying(64) NOT NULL,
    size bigint NOT NULL,
    holders integer NOT NULL,
    created_at bigint NOT NULL
);
CREATE TABLE public.sched_blob_chunk (
    content character varying(64) NOT NULL,
    number integer NOT NULL,
    data bytea NOT NULL
);
CREATE TABLE public.sched_fire (
    schedule_id uuid NOT NULL,
    fire_time bigint NOT NULL,
    task_id uuid,
    reason text,
    handled_at bigint NOT NULL,
    CONSTRAINT ck_sched_fire_outcome CHECK (((task_id IS NULL) <> (reason IS NULL)))
);
CREATE TABLE public.sched_idempotency (
    namespace_id character varying(63) NOT NULL,
    method character varying(127) NOT NULL,
    request_id character varying(128) NOT NULL,
    fingerprint bytea NOT NULL,
    resource_id character varying(127) NOT NULL,
    refusal text,
    expires_at bigint NOT NULL
);
CREATE TABLE public.sched_job (
    id uuid NOT NULL,
    namespace_id character varying(63) NOT NULL,
    name character varying(63) NOT NULL,
    status smallint NOT NULL,
    revision integer NOT NULL,
    version integer NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint,
    max_running integer DEFAULT 0 NOT NULL,
    CONSTRAINT ck_sched_job_status CHECK ((status = ANY (ARRAY[1, 2])))
);
CREATE TABLE public.sched_job_revision (
    job_id uuid NOT NULL,
    revision integer NOT NULL,
    requirement_id integer NOT NULL,
    spec text NOT NULL,
    created_at bigint NOT NULL
);
CREATE TABLE public.sched_key (
    id uuid NOT NULL,
    prefix character varying(12) NOT NULL,
    digest bytea NOT NULL,
    name character varying(63) NOT NULL,
    description text NOT NULL,
    roles smallint NOT NULL,
    everywhere boolean NOT NULL,
    created_by character varying(255) NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    last_used_at bigint,
    revoked_at bigint,
    revoked_by character varying(255),
    version integer NOT NULL,
    CONSTRAINT ck_sched_key_revoked CHECK (((revoked_at IS NULL) = (revoked_by IS NULL))),
    CONSTRAINT ck_sched_key_roles CHECK (((roles >= 1) AND (roles <= 31)))
);
CREATE TABLE public.sched_key_namespace (
    key_id uuid NOT NULL,
    namespace_id character varying(63) NOT NULL,
    "position" smallint NOT NULL
);
CREATE TABLE public.sched_log_chunk (
    task_id uuid NOT NULL,
    token integer NOT NULL,
    number integer NOT NULL,
    instance_id uuid NOT NULL,
    lines bytea NOT NULL
)
PARTITION BY RANGE (task_id);
CREATE TABLE public.sched_log_chunk_2025_12 (
    token integer NOT NULL,
    number integer NOT NULL,
    task_id uuid NOT NULL,
    instance_id uuid NOT NULL,
    lines bytea NOT NULL
);
CREATE TABLE public.sched_log_chunk_2026_01 (
    token integer NOT NULL,
    number integer NOT NULL,
    task_id uuid NOT NULL,
    instance_id uuid NOT NULL,
    lines bytea NOT NULL
);
CREATE TABLE public.sched_log_chunk_default (
    task_id uuid NOT NULL,
    token integer NOT NULL,
    number integer NOT NULL,
    instance_id uuid NOT NULL,
    lines bytea NOT NULL
);
CREATE TABLE public.sched_loop_lease (
    name character varying(63) NOT NULL,
    holder character varying(64) NOT NULL,
    token integer NOT NULL,
    expires_at bigint NOT NULL
);
CREATE TABLE public.sched_namespace (
    id character varying(63) NOT NULL,
    description text NOT NULL,
    version integer NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    after_task uuid,
    max_running integer DEFAULT 0 NOT NULL
);
CREATE TABLE public.sched_output_upload (
    task_id uuid NOT NULL,
    token integer NOT NULL,
    digest character varying(64) NOT NULL,
    size bigint NOT NULL,
    content character varying(64) NOT NULL,
    stored bigint NOT NULL,
    complete boolean NOT NULL,
    touched_at bigint NOT NULL,
    CONSTRAINT ck_sched_output_upload_stored CHECK ((stored <= size))
);
CREATE TABLE public.sched_plugin (
    namespace_id character varying(63) NOT NULL,
    digest character varying(64) NOT NULL,
    name character varying(63),
    plugin_version character varying(63),
    status smallint NOT NULL,
    reject_reason text NOT NULL,
    size integer NOT NULL,
    metadata text NOT NULL,
    entries text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    granted text DEFAULT ''::text NOT NULL,
    signatures text DEFAULT '[]'::text NOT NULL,
    CONSTRAINT ck_sched_plugin_status CHECK ((status = ANY (ARRAY[1, 2, 3])))
);
CREATE TABLE public.sched_ready (
    task_id uuid NOT NULL,
    requirement_id integer NOT NULL,
    priority smallint NOT NULL,
    ready_at bigint NOT NULL,
    start_by bigint
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000', fillfactor='90');
CREATE TABLE public.sched_request (
    digest uuid NOT NULL,
    content uuid NOT NULL,
    resource_id uuid,
    expires_at bigint NOT NULL,
    namespace_id character varying(63) NOT NULL,
    resource_name character varying(127),
    refusal text
);
CREATE TABLE public.sched_requirement (
    id integer NOT NULL,
    namespace_id character varying(63) NOT NULL,
    digest character varying(64) NOT NULL,
    spec text NOT NULL,
    touched_at bigint DEFAULT 0 NOT NULL
);
CREATE SEQUENCE public.sched_requirement_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.sched_requirement_id_seq OWNED BY public.sched_requirement.id;
CREATE TABLE public.sched_restore (
    restored_at bigint NOT NULL,
    token_floor integer NOT NULL,
    taken_at bigint,
    CONSTRAINT ck_sched_restore_token_floor CHECK ((token_floor >= 1))
);
CREATE TABLE public.sched_schedule (
    id uuid NOT NULL,
    namespace_id character varying(63) NOT NULL,
    name character varying(63) NOT NULL,
    job_id uuid NOT NULL,
    kind smallint NOT NULL,
    status smallint NOT NULL,
    timezone character varying(63) NOT NULL,
    spec text NOT NULL,
    parameters bytea,
    parameters_type character varying(255),
    next_fire_at bigint,
    last_fire_at bigint,
    fire_count integer NOT NULL,
    version integer NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint,
    CONSTRAINT ck_sched_schedule_next_fire CHECK (((status = 1) OR (next_fire_at IS NULL))),
    CONSTRAINT ck_sched_schedule_status CHECK ((status = ANY (ARRAY[1, 2, 3, 4])))
);
CREATE TABLE public.sched_schema (
    revision integer NOT NULL,
    applied_at bigint NOT NULL
);
CREATE TABLE public.sched_task (
    id uuid NOT NULL,
    namespace_id character varying(63) NOT NULL,
    job_id uuid NOT NULL,
    job_revision integer NOT NULL,
    requirement_id integer NOT NULL,
    schedule_id uuid,
    status smallint NOT NULL,
    priority smallint NOT NULL,
    scheduled_at bigint NOT NULL,
    attempt integer NOT NULL,
    max_retries integer NOT NULL,
    epoch integer NOT NULL,
    token integer NOT NULL,
    result_token integer NOT NULL,
    stalled integer NOT NULL,
    cause smallint NOT NULL,
    cancel_requested boolean NOT NULL,
    dead_reason smallint NOT NULL,
    agent_id character varying(63),
    instance_id uuid,
    wake_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    started_at bigint,
    finished_at bigint,
    version integer NOT NULL,
    start_within bigint,
    end_within bigint,
    end_by bigint,
    paused_from smallint,
    paused_at bigint,
    group_id uuid,
    shard_index integer,
    shard_total integer,
    CONSTRAINT ck_sched_task_finished CHECK (((status = ANY (ARRAY[40, 90, 99, 100])) = (finished_at IS NOT NULL))),
    CONSTRAINT ck_sched_task_placed CHECK (((status <> ALL (ARRAY[5, 10])) OR (instance_id IS NOT NULL))),
    CONSTRAINT ck_sched_task_token CHECK ((result_token <= token)),
    CONSTRAINT ck_sched_task_wake CHECK (((status = 35) = (wake_at IS NOT NULL)))
)
PARTITION BY RANGE (id);
CREATE TABLE public.sched_task_2025_12 (
    scheduled_at bigint NOT NULL,
    wake_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    started_at bigint,
    finished_at bigint,
    start_within bigint,
    end_within bigint,
    end_by bigint,
    paused_at bigint,
    job_revision integer NOT NULL,
    requirement_id integer NOT NULL,
    attempt integer NOT NULL,
    max_retries integer NOT NULL,
    epoch integer NOT NULL,
    token integer NOT NULL,
    result_token integer NOT NULL,
    stalled integer NOT NULL,
    version integer NOT NULL,
    shard_index integer,
    shard_total integer,
    status smallint NOT NULL,
    priority smallint NOT NULL,
    cause smallint NOT NULL,
    dead_reason smallint NOT NULL,
    paused_from smallint,
    id uuid NOT NULL,
    job_id uuid NOT NULL,
    schedule_id uuid,
    cancel_requested boolean NOT NULL,
    instance_id uuid,
    group_id uuid,
    namespace_id character varying(63) NOT NULL,
    agent_id character varying(63),
    CONSTRAINT ck_sched_task_finished CHECK (((status = ANY (ARRAY[40, 90, 99, 100])) = (finished_at IS NOT NULL))),
    CONSTRAINT ck_sched_task_placed CHECK (((status <> ALL (ARRAY[5, 10])) OR (instance_id IS NOT NULL))),
    CONSTRAINT ck_sched_task_token CHECK ((result_token <= token)),
    CONSTRAINT ck_sched_task_wake CHECK (((status = 35) = (wake_at IS NOT NULL)))
);
CREATE TABLE public.sched_task_2026_01 (
    scheduled_at bigint NOT NULL,
    wake_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    started_at bigint,
    finished_at bigint,
    start_within bigint,
    end_within bigint,
    end_by bigint,
    paused_at bigint,
    job_revision integer NOT NULL,
    requirement_id integer NOT NULL,
    attempt integer NOT NULL,
    max_retries integer NOT NULL,
    epoch integer NOT NULL,
    token integer NOT NULL,
    result_token integer NOT NULL,
    stalled integer NOT NULL,
    version integer NOT NULL,
    shard_index integer,
    shard_total integer,
    status smallint NOT NULL,
    priority smallint NOT NULL,
    cause smallint NOT NULL,
    dead_reason smallint NOT NULL,
    paused_from smallint,
    id uuid NOT NULL,
    job_id uuid NOT NULL,
    schedule_id uuid,
    cancel_requested boolean NOT NULL,
    instance_id uuid,
    group_id uuid,
    namespace_id character varying(63) NOT NULL,
    agent_id character varying(63),
    CONSTRAINT ck_sched_task_finished CHECK (((status = ANY (ARRAY[40, 90, 99, 100])) = (finished_at IS NOT NULL))),
    CONSTRAINT ck_sched_task_placed CHECK (((status <> ALL (ARRAY[5, 10])) OR (instance_id IS NOT NULL))),
    CONSTRAINT ck_sched_task_token CHECK ((result_token <= token)),
    CONSTRAINT ck_sched_task_wake CHECK (((status = 35) = (wake_at IS NOT NULL)))
);
CREATE TABLE public.sched_task_data (
    task_id uuid NOT NULL,
    parameters bytea,
    parameters_type character varying(255),
    environment text NOT NULL,
    tags text NOT NULL,
    timeout double precision,
    cancel_reason text NOT NULL,
    traceparent character varying(64) NOT NULL,
    tracestate text DEFAULT ''::text NOT NULL,
    baggage text DEFAULT ''::text NOT NULL,
    labels text DEFAULT '{}'::text NOT NULL
)
PARTITION BY RANGE (task_id);
CREATE TABLE public.sched_task_data_2025_12 (
    timeout double precision,
    task_id uuid NOT NULL,
    parameters bytea,
    parameters_type character varying(255),
    environment text NOT NULL,
    tags text NOT NULL,
    cancel_reason text NOT NULL,
    traceparent character varying(64) NOT NULL,
    tracestate text DEFAULT ''::text NOT NULL,
    baggage text DEFAULT ''::text NOT NULL,
    labels text DEFAULT '{}'::text NOT NULL
);
CREATE TABLE public.sched_task_data_2026_01 (
    timeout double precision,
    task_id uuid NOT NULL,
    parameters bytea,
    parameters_type character varying(255),
    environment text NOT NULL,
    tags text NOT NULL,
    cancel_reason text NOT NULL,
    traceparent character varying(64) NOT NULL,
    tracestate text DEFAULT ''::text NOT NULL,
    baggage text DEFAULT ''::text NOT NULL,
    labels text DEFAULT '{}'::text NOT NULL
);
CREATE TABLE public.sched_task_data_default (
    task_id uuid NOT NULL,
    parameters bytea,
    parameters_type character varying(255),
    environment text NOT NULL,
    tags text NOT NULL,
    timeout double precision,
    cancel_reason text NOT NULL,
    traceparent character varying(64) NOT NULL,
    tracestate text DEFAULT ''::text NOT NULL,
    baggage text DEFAULT ''::text NOT NULL,
    labels text DEFAULT '{}'::text NOT NULL
);
CREATE TABLE public.sched_task_default (
    id uuid NOT NULL,
    namespace_id character varying(63) NOT NULL,
    job_id uuid NOT NULL,
    job_revision integer NOT NULL,
    requirement_id integer NOT NULL,
    schedule_id uuid,
    status smallint NOT NULL,
    priority smallint NOT NULL,
    scheduled_at bigint NOT NULL,
    attempt integer NOT NULL,
    max_retries integer NOT NULL,
    epoch integer NOT NULL,
    token integer NOT NULL,
    result_token integer NOT NULL,
    stalled integer NOT NULL,
    cause smallint NOT NULL,
    cancel_requested boolean NOT NULL,
    dead_reason smallint NOT NULL,
    agent_id character varying(63),
    instance_id uuid,
    wake_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    started_at bigint,
    finished_at bigint,
    version integer NOT NULL,
    start_within bigint,
    end_within bigint,
    end_by bigint,
    paused_from smallint,
    paused_at bigint,
    group_id uuid,
    shard_index integer,
    shard_total integer,
    CONSTRAINT ck_sched_task_finished CHECK (((status = ANY (ARRAY[40, 90, 99, 100])) = (finished_at IS NOT NULL))),
    CONSTRAINT ck_sched_task_placed CHECK (((status <> ALL (ARRAY[5, 10])) OR (instance_id IS NOT NULL))),
    CONSTRAINT ck_sched_task_token CHECK ((result_token <= token)),
    CONSTRAINT ck_sched_task_wake CHECK (((status = 35) = (wake_at IS NOT NULL)))
);
CREATE TABLE public.sched_task_group (
    id uuid NOT NULL,
    namespace_id character varying(63) NOT NULL,
    job_id uuid NOT NULL,
    job_revision integer NOT NULL,
    mode smallint NOT NULL,
    policy smallint NOT NULL,
    policy_count integer NOT NULL,
    cancel_rest boolean NOT NULL,
    labels text NOT NULL,
    tags text NOT NULL,
    status smallint NOT NULL,
    total integer NOT NULL,
    succeeded integer NOT NULL,
    failed integer NOT NULL,
    cancelled integer NOT NULL,
    skipped integer NOT NULL,
    closing boolean NOT NULL,
    closed_by character varying(255) NOT NULL,
    closed_why text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    decided_at bigint,
    finished_at bigint,
    version integer NOT NULL,
    CONSTRAINT ck_sched_task_group_decided CHECK (((status = 10) = (decided_at IS NULL))),
    CONSTRAINT ck_sched_task_group_finished CHECK ((((((succeeded + failed) + cancelled) + skipped) = total) = (finished_at IS NOT NULL))),
    CONSTRAINT ck_sched_task_group_status CHECK ((status = ANY (ARRAY[10, 90, 99, 100]))),
    CONSTRAINT ck_sched_task_group_tally CHECK (((succeeded >= 0) AND (failed >= 0) AND (cancelled >= 0) AND (skipped >= 0) AND ((((succeeded + failed) + cancelled) + skipped) <= total)))
);
CREATE TABLE public.sched_task_instance (
    task_id uuid NOT NULL,
    token integer NOT NULL,
    id uuid NOT NULL,
    namespace_id character varying(63) NOT NULL,
    job_id uuid NOT NULL,
    agent_id character varying(63) NOT NULL,
    agent_namespace_id character varying(63) NOT NULL,
    attempt integer NOT NULL,
    cause smallint NOT NULL,
    epoch integer NOT NULL,
    status smallint NOT NULL,
    lease bigint,
    timeout bigint,
    created_at bigint NOT NULL,
    started_at bigint,
    finished_at bigint,
    exit_code integer,
    signal smallint,
    late_result boolean NOT NULL,
    error_code character varying(64),
    error_message text,
    error_retryable boolean,
    metrics text,
    output_size bigint NOT NULL,
    output_truncated boolean NOT NULL,
    output bytea,
    output_type character varying(255),
    output_digest character varying(64),
    progress double precision,
    progress_message text,
    grace bigint DEFAULT 0,
    paused bigint DEFAULT 0,
    CONSTRAINT ck_sched_task_instance_finished CHECK (((status = ANY (ARRAY[5, 10])) = (finished_at IS NULL))),
    CONSTRAINT ck_sched_task_instance_terms CHECK (((status <> ALL (ARRAY[5, 10])) OR ((((lease + timeout) + grace) + paused) IS NOT NULL))),
    CONSTRAINT ck_sched_task_instance_token CHECK ((token >= 1))
)
PARTITION BY RANGE (task_id);
CREATE TABLE public.sched_task_instance_2025_12 (
    lease bigint,
    timeout bigint,
    created_at bigint NOT NULL,
    started_at bigint,
    finished_at bigint,
    output_size bigint NOT NULL,
    progress double precision,
    grace bigint DEFAULT 0,
    paused bigint DEFAULT 0,
    token integer NOT NULL,
    attempt integer NOT NULL,
    epoch integer NOT NULL,
    exit_code integer,
    cause smallint NOT NULL,
    status smallint NOT NULL,
    signal smallint,
    task_id uuid NOT NULL,
    id uuid NOT NULL,
    job_id uuid NOT NULL,
    late_result boolean NOT NULL,
    error_retryable boolean,
    output_truncated boolean NOT NULL,
    namespace_id character varying(63) NOT NULL,
    agent_id character varying(63) NOT NULL,
    agent_namespace_id character varying(63) NOT NULL,
    error_code character varying(64),
    error_message text,
    metrics text,
    output bytea,
    output_type character varying(255),
    output_digest character varying(64),
    progress_message text,
    CONSTRAINT ck_sched_task_instance_finished CHECK (((status = ANY (ARRAY[5, 10])) = (finished_at IS NULL))),
    CONSTRAINT ck_sched_task_instance_terms CHECK (((status <> ALL (ARRAY[5, 10])) OR ((((lease + timeout) + grace) + paused) IS NOT NULL))),
    CONSTRAINT ck_sched_task_instance_token CHECK ((token >= 1))
);
CREATE TABLE public.sched_task_instance_2026_01 (
    lease bigint,
    timeout bigint,
    created_at bigint NOT NULL,
    started_at bigint,
    finished_at bigint,
    output_size bigint NOT NULL,
    progress double precision,
    grace bigint DEFAULT 0,
    paused bigint DEFAULT 0,
    token integer NOT NULL,
    attempt integer NOT NULL,
    epoch integer NOT NULL,
    exit_code integer,
    cause smallint NOT NULL,
    status smallint NOT NULL,
    signal smallint,
    task_id uuid NOT NULL,
    id uuid NOT NULL,
    job_id uuid NOT NULL,
    late_result boolean NOT NULL,
    error_retryable boolean,
    output_truncated boolean NOT NULL,
    namespace_id character varying(63) NOT NULL,
    agent_id character varying(63) NOT NULL,
    agent_namespace_id character varying(63) NOT NULL,
    error_code character varying(64),
    error_message text,
    metrics text,
    output bytea,
    output_type character varying(255),
    output_digest character varying(64),
    progress_message text,
    CONSTRAINT ck_sched_task_instance_finished CHECK (((status = ANY (ARRAY[5, 10])) = (finished_at IS NULL))),
    CONSTRAINT ck_sched_task_instance_terms CHECK (((status <> ALL (ARRAY[5, 10])) OR ((((lease + timeout) + grace) + paused) IS NOT NULL))),
    CONSTRAINT ck_sched_task_instance_token CHECK ((token >= 1))
);
CREATE TABLE public.sched_task_instance_default (
    task_id uuid NOT NULL,
    token integer NOT NULL,
    id uuid NOT NULL,
    namespace_id character varying(63) NOT NULL,
    job_id uuid NOT NULL,
    agent_id character varying(63) NOT NULL,
    agent_namespace_id character varying(63) NOT NULL,
    attempt integer NOT NULL,
    cause smallint NOT NULL,
    epoch integer NOT NULL,
    status smallint NOT NULL,
    lease bigint,
    timeout bigint,
    created_at bigint NOT NULL,
    started_at bigint,
    finished_at bigint,
    exit_code integer,
    signal smallint,
    late_result boolean NOT NULL,
    error_code character varying(64),
    error_message text,
    error_retryable boolean,
    metrics text,
    output_size bigint NOT NULL,
    output_truncated boolean NOT NULL,
    output bytea,
    output_type character varying(255),
    output_digest character varying(64),
    progress double precision,
    progress_message text,
    grace bigint DEFAULT 0,
    paused bigint DEFAULT 0,
    CONSTRAINT ck_sched_task_instance_finished CHECK (((status = ANY (ARRAY[5, 10])) = (finished_at IS NULL))),
    CONSTRAINT ck_sched_task_instance_terms CHECK (((status <> ALL (ARRAY[5, 10])) OR ((((lease + timeout) + grace) + paused) IS NOT NULL))),
    CONSTRAINT ck_sched_task_instance_token CHECK ((token >= 1))
);
CREATE TABLE public.sched_task_tag (
    task_id uuid NOT NULL,
    key character varying(63) NOT NULL,
    value character varying(255) NOT NULL,
    namespace_id character varying(63) NOT NULL
)
PARTITION BY RANGE (task_id);
CREATE TABLE public.sched_task_tag_2025_12 (
    task_id uuid NOT NULL,
    key character varying(63) NOT NULL,
    value character varying(255) NOT NULL,
    namespace_id character varying(63) NOT NULL
);
CREATE TABLE public.sched_task_tag_2026_01 (
    task_id uuid NOT NULL,
    key character varying(63) NOT NULL,
    value character varying(255) NOT NULL,
    namespace_id character varying(63) NOT NULL
);
CREATE TABLE public.sched_task_tag_default (
    task_id uuid NOT NULL,
    key character varying(63) NOT NULL,
    value character varying(255) NOT NULL,
    namespace_id character varying(63) NOT NULL
);
CREATE TABLE public.sched_task_transition (
    task_id uuid NOT NULL,
    version integer NOT NULL,
    at bigint NOT NULL,
    transition character varying(32) NOT NULL,
    from_status smallint NOT NULL,
    to_status smallint NOT NULL,
    subject character varying(255) NOT NULL,
    reason text NOT NULL
)
PARTITION BY RANGE (task_id);
CREATE TABLE public.sched_task_transition_2025_12 (
    at bigint NOT NULL,
    version integer NOT NULL,
    from_status smallint NOT NULL,
    to_status smallint NOT NULL,
    task_id uuid NOT NULL,
    transition character varying(32) NOT NULL,
    subject character varying(255) NOT NULL,
    reason text NOT NULL
);
CREATE TABLE public.sched_task_transition_2026_01 (
    at bigint NOT NULL,
    version integer NOT NULL,
    from_status smallint NOT NULL,
    to_status smallint NOT NULL,
    task_id uuid NOT NULL,
    transition character varying(32) NOT NULL,
    subject character varying(255) NOT NULL,
    reason text NOT NULL
);
CREATE TABLE public.sched_task_transition_default (
    task_id uuid NOT NULL,
    version integer NOT NULL,
    at bigint NOT NULL,
    transition character varying(32) NOT NULL,
    from_status smallint NOT NULL,
    to_status smallint NOT NULL,
    subject character varying(255) NOT NULL,
    reason text NOT NULL
);
CREATE TABLE public.sched_timer (
    task_id uuid NOT NULL,
    due_at bigint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000', fillfactor='90');
ALTER TABLE ONLY public.sched_log_chunk ATTACH PARTITION public.sched_log_chunk_2025_12 FOR VALUES FROM ('019ad735-8400-0000-0000-000000000000') TO ('019b76da-a800-0000-0000-000000000000');
ALTER TABLE ONLY public.sched_log_chunk ATTACH PARTITION public.sched_log_chunk_2026_01 FOR VALUES FROM ('019b76da-a800-0000-0000-000000000000') TO ('019c167f-cc00-0000-0000-000000000000');
ALTER TABLE ONLY public.sched_log_chunk ATTACH PARTITION public.sched_log_chunk_default DEFAULT;
ALTER TABLE ONLY public.sched_task ATTACH PARTITION public.sched_task_2025_12 FOR VALUES FROM ('019ad735-8400-0000-0000-000000000000') TO ('019b76da-a800-0000-0000-000000000000');
ALTER TABLE ONLY public.sched_task ATTACH PARTITION public.sched_task_2026_01 FOR VALUES FROM ('019b76da-a800-0000-0000-000000000000') TO ('019c167f-cc00-0000-0000-000000000000');
ALTER TABLE ONLY public.sched_task_data ATTACH PARTITION public.sched_task_data_2025_12 FOR VALUES FROM ('019ad735-8400-0000-0000-000000000000') TO ('019b76da-a800-0000-0000-000000000000');
ALTER TABLE ONLY public.sched_task_data ATTACH PARTITION public.sched_task_data_2026_01 FOR VALUES FROM ('019b76da-a800-0000-0000-000000000000') TO ('019c167f-cc00-0000-0000-000000000000');
ALTER TABLE ONLY public.sched_task_data ATTACH PARTITION public.sched_task_data_default DEFAULT;
ALTER TABLE ONLY public.sched_task ATTACH PARTITION public.sched_task_default DEFAULT;
ALTER TABLE ONLY public.sched_task_instance ATTACH PARTITION public.sched_task_instance_2025_12 FOR VALUES FROM ('019ad735-8400-0000-0000-000000000000') TO ('019b76da-a800-0000-0000-000000000000');
ALTER TABLE ONLY public.sched_task_instance ATTACH PARTITION public.sched_task_instance_2026_01 FOR VALUES FROM ('019b76da-a800-0000-0000-000000000000') TO ('019c167f-cc00-0000-0000-000000000000');
ALTER TABLE ONLY public.sched_task_instance ATTACH PARTITION public.sched_task_instance_default DEFAULT;
ALTER TABLE ONLY public.sched_task_tag ATTACH PARTITION public.sched_task_tag_2025_12 FOR VALUES FROM ('019ad735-8400-0000-0000-000000000000') TO ('019b76da-a800-0000-0000-000000000000');
ALTER TABLE ONLY public.sched_task_tag ATTACH PARTITION public.sched_task_tag_2026_01 FOR VALUES FROM ('019b76da-a800-0000-0000-000000000000') TO ('019c167f-cc00-0000-0000-000000000000');
ALTER TABLE ONLY public.sched_task_tag ATTACH PARTITION public.sched_task_tag_default DEFAULT;
ALTER TABLE ONLY public.sched_task_transition ATTACH PARTITION public.sched_task_transition_2025_12 FOR VALUES FROM ('019ad735-8400-0000-0000-000000000000') TO ('019b76da-a800-0000-0000-000000000000');
ALTER TABLE ONLY public.sched_task_transition ATTACH PARTITION public.sched_task_transition_2026_01 FOR VALUES FROM ('019b76da-a800-0000-0000-000000000000') TO ('019c167f-cc00-0000-0000-000000000000');
ALTER TABLE ONLY public.sched_task_transition ATTACH PARTITION public.sched_task_transition_default DEFAULT;
ALTER TABLE ONLY public.sched_requirement ALTER COLUMN id SET DEFAULT nextval('public.sched_requirement_id_seq'::regclass);
INSERT INTO public.sched_agent VALUES
	('default', 'agent', 'folder of agent', 1, 1, false, '{"zone":"a"}', '{"zone":"a"}', '["default"]', '[{"name":"process","abi":0}]', 20, 'host of agent', '1', 1, '019ad735-8400-7000-93b5-fb38f948fd9c', 'one', '{}', 1764547200000000, 1764547200000000, 1, 1764547200000000, 1764547200000000, '{}');
INSERT INTO public.sched_blob VALUES
	('b44a3e028c3fde1edf0a35f3ab7550d6b004bb4e1220ef1f75581b7f50037fdf', 'b44a3e028c3fde1edf0a35f3ab7550d6b004bb4e1220ef1f75581b7f50037fdf', 42, 1, 1764547200000000),
	('abababababababababababababababababababababababababababababababab', 'abababababababababababababababababababababababababababababababab', 14, 1, 1764547203000000);
INSERT INTO public.sched_blob_chunk VALUES
	('b44a3e028c3fde1edf0a35f3ab7550d6b004bb4e1220ef1f75581b7f50037fdf', 0, '\x0061736d01000000010401600000030201000710010c657865637574655f7461736b00000a040102000b'),
	('abababababababababababababababababababababababababababababababab', 0, '\x61206c61726765206f7574707574');
INSERT INTO public.sched_fire VALUES
	('019ad735-8400-7000-9bea-922552e1c5ee', 1764547260000000, '019ad736-7e00-7000-91f6-cc5fa5d7349b', NULL, 1764547264000000);
INSERT INTO public.sched_job VALUES
	('019ad735-8400-7000-9bea-922206cdd9c3', 'default', 'good', 1, 2, 2, 1764547200000000, 1764547200000000, NULL, 0),
	('019ad735-8400-7000-9bea-9222f06d4351', 'default', 'off', 2, 1, 2, 1764547200000000, 1764547200000000, NULL, 0),
	('019ad735-8400-7000-9bea-92232e424ea8', 'default', 'gone', 1, 1, 1, 1764547200000000, 1764547200000000, 1764547200000000, 0),
	('019ad735-8400-7000-9bea-9223d29aa3ee', 'team', 'good', 1, 1, 1, 1764547200000000, 1764547200000000, NULL, 0),
	('019ad735-8400-7000-9bea-9224b70d129f', 'default', 'plug', 1, 1, 1, 1764547200000000, 1764547200000000, NULL, 0);
INSERT INTO public.sched_job_revision VALUES
	('019ad735-8400-7000-9bea-922206cdd9c3', 1, 1, '{"description":"says hello","environment":{"WHO":"Ada"},"config":{"executor":"process","cmd":"sh","args":["-c","echo $WHO"],"cwd":"","environment":{},"capture_output":true,"max_output_size":1048576,"timeout":3600.0,"max_retries":1,"retry_interval":3600.0,"labels":{"zone":"a"},"wasm":null,"grace_seconds":10.0,"max_stalled":3,"lost_after_seconds":60.0,"on_control_plane_lost":1,"priority":500,"retry":{"backoff":1,"multiplier":2.0,"max_interval_seconds":86400.0,"jitter":0.0,"max_elapsed_seconds":null,"retry_on":[],"fail_on":[]},"http":null,"placement":{"required":[],"preferred":[],"strategy":1,"sticky_key":"","agents":[],"slots":1,"resources":{}},"max_running":0,"artifacts":null,"output_content_type":"","function":null,"options":"","schedule_to_start_timeout_seconds":null,"total_timeout_seconds":null,"heartbeat_timeout_seconds":null,"resource_limits":{"max_memory_mb":null,"max_cpu_percent":null,"max_execution_time_secs":null,"max_output_size_bytes":null,"max_processes":null,"max_open_files":null}}}', 1764547200000000),
	('019ad735-8400-7000-9bea-922206cdd9c3', 2, 1, '{"description":"says hello","environment":{"WHO":"Ada"},"config":{"executor":"process","cmd":"sh","args":["-c","echo $WHO"],"cwd":"","environment":{},"capture_output":true,"max_output_size":1048576,"timeout":60.0,"max_retries":1,"retry_interval":3600.0,"labels":{"zone":"a"},"wasm":null,"grace_seconds":10.0,"max_stalled":3,"lost_after_seconds":60.0,"on_control_plane_lost":1,"priority":500,"retry":{"backoff":1,"multiplier":2.0,"max_interval_seconds":86400.0,"jitter":0.0,"max_elapsed_seconds":null,"retry_on":[],"fail_on":[]},"http":null,"placement":{"required":[],"preferred":[],"strategy":1,"sticky_key":"","agents":[],"slots":1,"resources":{}},"max_running":0,"artifacts":null,"output_content_type":"","function":null,"options":"","schedule_to_start_timeout_seconds":null,"total_timeout_seconds":null,"heartbeat_timeout_seconds":null,"resource_limits":{"max_memory_mb":null,"max_cpu_percent":null,"max_execution_time_secs":null,"max_output_size_bytes":null,"max_processes":null,"max_open_files":null}}}', 1764547200000000),
	('019ad735-8400-7000-9bea-9222f06d4351', 1, 2, '{"description":"","environment":{},"config":{"executor":"process","cmd":"true","args":[],"cwd":"","environment":{},"capture_output":true,"max_output_size":1048576,"timeout":3600.0,"max_retries":0,"retry_interval":30.0,"labels":{},"wasm":null,"grace_seconds":10.0,"max_stalled":3,"lost_after_seconds":60.0,"on_control_plane_lost":1,"priority":500,"retry":{"backoff":1,"multiplier":2.0,"max_interval_seconds":86400.0,"jitter":0.0,"max_elapsed_seconds":null,"retry_on":[],"fail_on":[]},"http":null,"placement":{"required":[],"preferred":[],"strategy":1,"sticky_key":"","agents":[],"slots":1,"resources":{}},"max_running":0,"artifacts":null,"output_content_type":"","function":null,"options":"","schedule_to_start_timeout_seconds":null,"total_timeout_seconds":null,"heartbeat_timeout_seconds":null,"resource_limits":{"max_memory_mb":null,"max_cpu_percent":null,"max_execution_time_secs":null,"max_output_size_bytes":null,"max_processes":null,"max_open_files":null}}}', 1764547200000000),
	('019ad735-8400-7000-9bea-92232e424ea8', 1, 2, '{"description":"","environment":{},"config":{"executor":"process","cmd":"true","args":[],"cwd":"","environment":{},"capture_output":true,"max_output_size":1048576,"timeout":3600.0,"max_retries":0,"retry_interval":30.0,"labels":{},"wasm":null,"grace_seconds":10.0,"max_stalled":3,"lost_after_seconds":60.0,"on_control_plane_lost":1,"priority":500,"retry":{"backoff":1,"multiplier":2.0,"max_interval_seconds":86400.0,"jitter":0.0,"max_elapsed_seconds":null,"retry_on":[],"fail_on":[]},"http":null,"placement":{"required":[],"preferred":[],"strategy":1,"sticky_key":"","agents":[],"slots":1,"resources":{}},"max_running":0,"artifacts":null,"output_content_type":"","function":null,"options":"","schedule_to_start_timeout_seconds":null,"total_timeout_seconds":null,"heartbeat_timeout_seconds":null,"resource_limits":{"max_memory_mb":null,"max_cpu_percent":null,"max_execution_time_secs":null,"max_output_size_bytes":null,"max_processes":null,"max_open_files":null}}}', 1764547200000000),
	('019ad735-8400-7000-9bea-9223d29aa3ee', 1, 3, '{"description":"","environment":{},"config":{"executor":"process","cmd":"true","args":[],"cwd":"","environment":{},"capture_output":true,"max_output_size":1048576,"timeout":3600.0,"max_retries":0,"retry_interval":30.0,"labels":{},"wasm":null,"grace_seconds":10.0,"max_stalled":3,"lost_after_seconds":60.0,"on_control_plane_lost":1,"priority":500,"retry":{"backoff":1,"multiplier":2.0,"max_interval_seconds":86400.0,"jitter":0.0,"max_elapsed_seconds":null,"retry_on":[],"fail_on":[]},"http":null,"placement":{"required":[],"preferred":[],"strategy":1,"sticky_key":"","agents":[],"slots":1,"resources":{}},"max_running":0,"artifacts":null,"output_content_type":"","function":null,"options":"","schedule_to_start_timeout_seconds":null,"total_timeout_seconds":null,"heartbeat_timeout_seconds":null,"resource_limits":{"max_memory_mb":null,"max_cpu_percent":null,"max_execution_time_secs":null,"max_output_size_bytes":null,"max_processes":null,"max_open_files":null}}}', 1764547200000000),
	('019ad735-8400-7000-9bea-9224b70d129f', 1, 4, '{"description":"","environment":{},"config":{"executor":"wasm","cmd":"","args":[],"cwd":"","environment":{},"capture_output":true,"max_output_size":1048576,"timeout":3600.0,"max_retries":0,"retry_interval":30.0,"labels":{},"wasm":{"plugin":"b44a3e028c3fde1edf0a35f3ab7550d6b004bb4e1220ef1f75581b7f50037fdf","entry":"execute_task","config":{}},"grace_seconds":10.0,"max_stalled":3,"lost_after_seconds":60.0,"on_control_plane_lost":1,"priority":500,"retry":{"backoff":1,"multiplier":2.0,"max_interval_seconds":86400.0,"jitter":0.0,"max_elapsed_seconds":null,"retry_on":[],"fail_on":[]},"http":null,"placement":{"required":[],"preferred":[],"strategy":1,"sticky_key":"","agents":[],"slots":1,"resources":{}},"max_running":0,"artifacts":null,"output_content_type":"","function":null,"options":"","schedule_to_start_timeout_seconds":null,"total_timeout_seconds":null,"heartbeat_timeout_seconds":null,"resource_limits":{"max_memory_mb":null,"max_cpu_percent":null,"max_execution_time_secs":null,"max_output_size_bytes":null,"max_processes":null,"max_open_files":null}}}', 1764547200000000);
INSERT INTO public.sched_key VALUES
	('019ad735-8400-7000-9bea-92268a352cb7', '5lvlyxymy2zo', '\x870738cf7d39392d74bcb9c9e6aae74f9b6cc0029146249c9a7d3f6c91cbf2f3', 'ann', '', 2, false, 'anonymous', 1764547200000000, NULL, NULL, NULL, NULL, 1);
INSERT INTO public.sched_key_namespace VALUES
	('019ad735-8400-7000-9bea-92268a352cb7', 'default', 0);
INSERT INTO public.sched_log_chunk_2025_12 VALUES
	(1, 1, '019ad735-8400-7000-9bea-9226d9486c7a', '019ad735-87e8-7000-90a4-8f66f87088c8', '\x78019392e2601462e368dcbaf9249b145f4a7e5eaa95427ad1e13d87e7a77201006cd00967'),
	(1, 1, '019ad735-8400-7000-9bea-92272b6a725f', '019ad735-87e8-7000-90a4-8f67b6406d08', '\x78019392e6601462e368dcbaf9249b147f627a62669e95427ad1e13d87e7a7720100758409c3'),
	(1, 1, '019ad735-8400-7000-9bea-92278f72843f', '019ad735-87e8-7000-90a4-8f6836c056fb', '\x78019392e1601462e368dcbaf9249b94405a62664e6a8a95427ad1e13d87e7a77201007f5f0a2a'),
	(1, 1, '019ad735-8400-7000-9bea-9227e8e9b3d2', '019ad735-87e8-7000-90a4-8f683c243b04', '\x78019392e5601462e368dcbaf9249b946071497e41416a8a95427ad1e13d87e7a77201008cbc0ac6'),
	(1, 1, '019ad735-8400-7000-9bea-9228b2e8814a', '019ad735-87e8-7000-90a4-8f68a86bc146', '\x78019392e5601462e368dcbaf9249b946051695e5e665eba95427ad1e13d87e7a77201008cc20ac8');
INSERT INTO public.sched_namespace VALUES
	('default', 'Where work goes that names no namespace.', 1, 1764547200000000, 1764547200000000, NULL, 0),
	('team', 'Others.', 1, 1764547200000000, 1764547200000000, NULL, 0);
INSERT INTO public.sched_plugin VALUES
	('default', 'b44a3e028c3fde1edf0a35f3ab7550d6b004bb4e1220ef1f75581b7f50037fdf', 'small', '1.0', 1, '', 42, '{}', '["execute_task"]', 1764547200000000, 1764547200000000, '', '[]');
INSERT INTO public.sched_ready VALUES
	('019ad735-8400-7000-9bea-92297da4d196', 1, 894, 1764547200000000, NULL),
	('019ad736-7e00-7000-91f6-cc5fa5d7349b', 1, 500, 1764547264000000, NULL);
INSERT INTO public.sched_request VALUES
	('37a8eec1-43bf-913a-cf79-5d64cc9b9ec7', '2be6f8c2-6dca-8658-c04e-143df40ed071', '019ad735-8400-7000-9bea-922206cdd9c3', 1764633600000000, 'default', NULL, NULL),
	('37a8eec1-2454-2637-c2e3-9c4384f6a064', '3ca84685-feef-842b-1b72-15e5c70613ec', '019ad735-8400-7000-9bea-9226d9486c7a', 1764633600000000, 'default', NULL, NULL),
	('37a8eec1-11e7-e8f9-b3f8-829f357d1870', '1a6b0e79-7400-0389-2f19-0625bfb0437b', '019ad735-8400-7000-9bea-92272b6a725f', 1764633600000000, 'default', NULL, NULL),
	('37a8eec1-3f50-3846-6e1d-4dc3af877e2f', '33a5eed0-19ea-1f7d-2203-d341b996b299', '019ad735-8400-7000-9bea-92278f72843f', 1764633600000000, 'default', NULL, NULL),
	('37a8eec1-6c54-29ec-1d08-a3d34bae1695', 'd5159382-8faa-13c1-4499-b88061110fa7', '019ad735-8400-7000-9bea-9227e8e9b3d2', 1764633600000000, 'default', NULL, NULL),
	('37a8eec1-bc02-69e2-774a-713cf9f000b9', '1b601eb4-3dbb-6995-e7f2-e1a4d1ee2afb', '019ad735-8400-7000-9bea-9228b2e8814a', 1764633600000000, 'default', NULL, NULL),
	('37a8eec1-bf14-785a-3a74-00f6f24c4a54', 'e38433ee-3fb5-3cfe-2a96-9a473d0dffe8', '019ad735-8400-7000-9bea-9228eddf58cd', 1764633600000000, 'default', NULL, NULL),
	('37a8eec1-99ed-c2b7-7b28-237535914b37', 'e703fa55-4b10-7a46-9dcd-4235718d2be3', '019ad735-8400-7000-9bea-92297da4d196', 1764633600000000, 'default', NULL, NULL),
	('37a8eec1-4d62-4380-9c97-baebc0fadb06', 'd16ae4d3-6f72-a189-4431-5e96c7e125ed', '019ad735-8400-7000-9bea-9229b9a15faf', 1764633600000000, 'default', NULL, NULL),
	('37a8eec1-f0fd-31bd-6648-bd3f4503bdee', 'a33a622b-1c4f-d2df-f115-e9f78f1dbed8', '019ad735-8400-7000-9bea-922ab617824f', 1764633600000000, 'default', NULL, NULL),
	('37a8eec1-9151-fe7b-17a7-3a9ab1803a1a', 'eb5f8f6f-b50f-a273-791c-ed02cacdb7c3', '019ad735-8400-7000-9bea-922b807b19c4', 1764633600000000, 'default', NULL, NULL),
	('37a8eec1-3f7e-b67f-5df6-8b769c3e9eb2', '757d5707-4dc6-19d2-d2e9-95a1a2e90ae5', '019ad735-8400-7000-9bea-922c6b836c3c', 1764633600000000, 'default', NULL, NULL),
	('37a8eec1-2414-08ac-8be3-25fb577e2f0d', 'a3ba15a6-5e9f-e291-59a2-e63a348ce7d7', '019ad735-8400-7000-9bea-922d29cefd5b', 1764633600000000, 'default', NULL, NULL),
	('37a8eec1-916a-1f77-5b72-3249537139f4', '009b7750-3848-2a42-0ea6-34a91f52aa1f', '019ad735-8400-7000-9bea-922da84d71e0', 1764633600000000, 'default', NULL, NULL),
	('37a8eec1-444a-a5cd-547c-ae43b89be276', 'bb018a5b-2c29-b23a-5727-1ac32260480a', '019ad735-8400-7000-9bea-922e6e1b27f4', 1764633600000000, 'default', NULL, NULL);
INSERT INTO public.sched_requirement VALUES
	(1, 'default', 'da02dd665677681a94e36308ddc1c290546fd3d8bffa87c24aae7e1362129257', '{"executor":"process","labels":{"zone":"a"}}', 1764547200000000),
	(2, 'default', 'fda9c33f0bfd965a3469e19998f440103da3562e5ff8f3dae7c18436675fd9a8', '{"executor":"process","labels":{}}', 1764547200000000),
	(3, 'team', 'fda9c33f0bfd965a3469e19998f440103da3562e5ff8f3dae7c18436675fd9a8', '{"executor":"process","labels":{}}', 1764547200000000),
	(4, 'default', '4fbd2afcd88950cb7cd9e4346627568e01a4924cdea19132cfe143c2d20d9603', '{"executor":"wasm","labels":{}}', 1764547200000000);
INSERT INTO public.sched_schedule VALUES
	('019ad735-8400-7000-9bea-92258ce9f27c', 'default', 'noon', '019ad735-8400-7000-9bea-922206cdd9c3', 1, 3, 'Europe/Berlin', '{"description":"","cron_expression":"0 12 * * *","interval_seconds":0.0,"start_time":null,"end_time":null,"environment":{},"tags":{},"priority":null}', NULL, NULL, NULL, NULL, 0, 2, 1764547200000000, 1764547200000000, NULL),
	('019ad735-8400-7000-9bea-922552e1c5ee', 'default', 'often', '019ad735-8400-7000-9bea-922206cdd9c3', 2, 1, 'UTC', '{"description":"","cron_expression":"","interval_seconds":60.0,"start_time":null,"end_time":null,"environment":{},"tags":{},"priority":null}', '\x7b7d', 'application/json', 1764547320000000, 1764547260000000, 1, 1, 1764547200000000, 1764547200000000, NULL);
INSERT INTO public.sched_schema VALUES
	(1, 1764547200000000),
	(2, 1764547200000000),
	(3, 1764547200000000),
	(4, 1764547200000000),
	(5, 1764547200000000),
	(6, 1764547200000000),
	(7, 1764547200000000),
	(8, 1764547200000000),
	(9, 1764547200000000),
	(10, 1764547200000000);
INSERT INTO public.sched_task_2025_12 VALUES
	(1764547200000000, NULL, 1764547200000000, 1764547200000000, NULL, NULL, NULL, NULL, NULL, NULL, 2, 1, 0, 1, 1, 0, 0, 0, 1, NULL, NULL, 1, 894, 1, 0, NULL, '019ad735-8400-7000-9bea-92297da4d196', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, false, NULL, NULL, 'default', NULL),
	(1769904000000000, NULL, 1764547200000000, 1764547200000000, NULL, NULL, NULL, NULL, NULL, NULL, 2, 1, 0, 1, 1, 0, 0, 0, 1, NULL, NULL, 1, 500, 1, 0, NULL, '019ad735-8400-7000-9bea-922ec5015abb', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, false, NULL, NULL, 'default', NULL),
	(1764547200000000, NULL, 1764547200000000, 1764547201000000, NULL, NULL, NULL, NULL, NULL, NULL, 2, 1, 1, 1, 1, 1, 0, 0, 3, NULL, NULL, 5, 895, 1, 0, NULL, '019ad735-8400-7000-9bea-9228eddf58cd', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, false, '019ad735-87e8-7000-90a4-8f697c6e09c8', NULL, 'default', 'agent'),
	(1764547200000000, NULL, 1764547200000000, 1764547203000000, 1764547201000000, 1764547203000000, NULL, NULL, NULL, NULL, 2, 1, 1, 1, 1, 1, 1, 0, 5, NULL, NULL, 100, 900, 1, 0, NULL, '019ad735-8400-7000-9bea-9226d9486c7a', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, false, '019ad735-87e8-7000-90a4-8f66f87088c8', NULL, 'default', 'agent'),
	(1764547200000000, 1764550803000000, 1764547200000000, 1764547203000000, 1764547201000000, NULL, NULL, NULL, NULL, NULL, 2, 1, 1, 1, 1, 1, 1, 0, 5, NULL, NULL, 35, 899, 2, 0, NULL, '019ad735-8400-7000-9bea-92272b6a725f', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, false, '019ad735-87e8-7000-90a4-8f67b6406d08', NULL, 'default', 'agent'),
	(1764547200000000, NULL, 1764547200000000, 1764547203000000, 1764547201000000, 1764547203000000, NULL, NULL, NULL, NULL, 2, 1, 1, 1, 1, 1, 1, 0, 5, NULL, NULL, 90, 898, 1, 2, NULL, '019ad735-8400-7000-9bea-92278f72843f', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, false, '019ad735-87e8-7000-90a4-8f6836c056fb', NULL, 'default', 'agent'),
	(1764547200000000, NULL, 1764547200000000, 1764547203000000, 1764547201000000, 1764547203000000, NULL, NULL, NULL, NULL, 2, 1, 1, 1, 1, 1, 1, 0, 6, NULL, NULL, 99, 897, 1, 0, NULL, '019ad735-8400-7000-9bea-9227e8e9b3d2', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, true, '019ad735-87e8-7000-90a4-8f683c243b04', NULL, 'default', 'agent'),
	(1764547200000000, NULL, 1764547200000000, 1764547203000000, 1764547201000000, NULL, NULL, NULL, NULL, NULL, 2, 1, 1, 1, 1, 1, 0, 0, 5, NULL, NULL, 10, 896, 1, 0, NULL, '019ad735-8400-7000-9bea-9228b2e8814a', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, true, '019ad735-87e8-7000-90a4-8f68a86bc146', NULL, 'default', 'agent'),
	(1764547200000000, NULL, 1764547200000000, 1764547203000000, NULL, 1764547203000000, NULL, NULL, NULL, NULL, 2, 1, 0, 1, 1, 0, 0, 0, 2, NULL, NULL, 99, 887, 1, 0, NULL, '019ad735-8400-7000-9bea-922e6e1b27f4', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, true, NULL, NULL, 'default', NULL),
	(1764547200000000, NULL, 1764547200000000, 1764547200000000, NULL, NULL, NULL, NULL, NULL, NULL, 2, 1, 0, 1, 1, 0, 0, 0, 1, NULL, NULL, 2, 893, 1, 0, NULL, '019ad735-8400-7000-9bea-9229b9a15faf', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, false, NULL, NULL, 'default', NULL),
	(1764547200000000, NULL, 1764547200000000, 1764547200000000, NULL, NULL, NULL, NULL, NULL, NULL, 2, 1, 0, 1, 1, 0, 0, 0, 1, NULL, NULL, 3, 892, 1, 0, NULL, '019ad735-8400-7000-9bea-922ab617824f', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, false, NULL, NULL, 'default', NULL),
	(1764547200000000, NULL, 1764547200000000, 1764547200000000, NULL, NULL, NULL, NULL, NULL, NULL, 2, 1, 0, 1, 1, 0, 0, 0, 1, NULL, NULL, 20, 891, 1, 0, NULL, '019ad735-8400-7000-9bea-922b807b19c4', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, false, NULL, NULL, 'default', NULL),
	(1764547200000000, NULL, 1764547200000000, 1764547200000000, NULL, NULL, NULL, NULL, NULL, NULL, 2, 1, 0, 1, 1, 0, 0, 0, 1, NULL, NULL, 25, 890, 1, 0, NULL, '019ad735-8400-7000-9bea-922c6b836c3c', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, false, NULL, NULL, 'default', NULL),
	(1764547200000000, NULL, 1764547200000000, 1764547200000000, NULL, NULL, NULL, NULL, NULL, NULL, 2, 1, 0, 1, 1, 0, 0, 0, 1, NULL, NULL, 30, 889, 1, 0, NULL, '019ad735-8400-7000-9bea-922d29cefd5b', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, false, NULL, NULL, 'default', NULL),
	(1764547200000000, NULL, 1764547200000000, 1764547200000000, NULL, 1764547203000000, NULL, NULL, NULL, NULL, 2, 1, 0, 1, 1, 0, 0, 0, 1, NULL, NULL, 40, 888, 1, 0, NULL, '019ad735-8400-7000-9bea-922da84d71e0', '019ad735-8400-7000-9bea-922206cdd9c3', NULL, false, NULL, NULL, 'default', NULL),
	(1764547260000000, NULL, 1764547264000000, 1764547264000000, NULL, NULL, NULL, NULL, NULL, NULL, 2, 1, 0, 1, 1, 0, 0, 0, 1, NULL, NULL, 1, 500, 1, 0, NULL, '019ad736-7e00-7000-91f6-cc5fa5d7349b', '019ad735-8400-7000-9bea-922206cdd9c3', '019ad735-8400-7000-9bea-922552e1c5ee', false, NULL, NULL, 'default', NULL);
INSERT INTO public.sched_task_data_2025_12 VALUES
	(NULL, '019ad735-8400-7000-9bea-9226d9486c7a', '\x7b226e223a20317d', 'application/json', '{"N":"0"}', '{"name":"done"}', '', '', '', '', '{}'),
	(NULL, '019ad735-8400-7000-9bea-92272b6a725f', '\x7b226e223a20317d', 'application/json', '{"N":"1"}', '{"name":"again"}', '', '', '', '', '{}'),
	(NULL, '019ad735-8400-7000-9bea-92278f72843f', '\x7b226e223a20317d', 'application/json', '{"N":"2"}', '{"name":"failed"}', '', '', '', '', '{}'),
	(NULL, '019ad735-8400-7000-9bea-9228eddf58cd', '\x7b226e223a20317d', 'application/json', '{"N":"5"}', '{"name":"placed"}', '', '', '', '', '{}'),
	(NULL, '019ad735-8400-7000-9bea-92297da4d196', '\x7b226e223a20317d', 'application/json', '{"N":"6"}', '{"name":"asked"}', '', '', '', '', '{}'),
	(NULL, '019ad735-8400-7000-9bea-9229b9a15faf', '\x7b226e223a20317d', 'application/json', '{"N":"7"}', '{"name":"spare-0"}', '', '', '', '', '{}'),
	(NULL, '019ad735-8400-7000-9bea-922ab617824f', '\x7b226e223a20317d', 'application/json', '{"N":"8"}', '{"name":"spare-1"}', '', '', '', '', '{}'),
	(NULL, '019ad735-8400-7000-9bea-922b807b19c4', '\x7b226e223a20317d', 'application/json', '{"N":"9"}', '{"name":"spare-2"}', '', '', '', '', '{}'),
	(NULL, '019ad735-8400-7000-9bea-922c6b836c3c', '\x7b226e223a20317d', 'application/json', '{"N":"10"}', '{"name":"spare-3"}', '', '', '', '', '{}'),
	(NULL, '019ad735-8400-7000-9bea-922d29cefd5b', '\x7b226e223a20317d', 'application/json', '{"N":"11"}', '{"name":"spare-4"}', '', '', '', '', '{}'),
	(NULL, '019ad735-8400-7000-9bea-922da84d71e0', '\x7b226e223a20317d', 'application/json', '{"N":"12"}', '{"name":"spare-5"}', '', '', '', '', '{}'),
	(NULL, '019ad735-8400-7000-9bea-922ec5015abb', NULL, NULL, '{}', '{}', '', '', '', '', '{}'),
	(NULL, '019ad735-8400-7000-9bea-9227e8e9b3d2', '\x7b226e223a20317d', 'application/json', '{"N":"3"}', '{"name":"stopped"}', 'enough', '', '', '', '{}'),
	(NULL, '019ad735-8400-7000-9bea-9228b2e8814a', '\x7b226e223a20317d', 'application/json', '{"N":"4"}', '{"name":"running"}', 'too long', '', '', '', '{}'),
	(NULL, '019ad735-8400-7000-9bea-922e6e1b27f4', '\x7b226e223a20317d', 'application/json', '{"N":"13"}', '{"name":"spare-6"}', 'before it began', '', '', '', '{}'),
	(NULL, '019ad736-7e00-7000-91f6-cc5fa5d7349b', '\x7b7d', 'application/json', '{}', '{}', '', '', '', '', '{}');
INSERT INTO public.sched_task_instance_2025_12 VALUES
	(60000000, 60000000, 1764547201000000, NULL, NULL, 0, NULL, 10000000, 0, 1, 1, 1, NULL, 1, 5, NULL, '019ad735-8400-7000-9bea-9228eddf58cd', '019ad735-87e8-7000-90a4-8f697c6e09c8', '019ad735-8400-7000-9bea-922206cdd9c3', false, NULL, false, 'default', 'agent', 'default', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(60000000, 60000000, 1764547201000000, 1764547201000000, NULL, 0, NULL, 10000000, 0, 1, 1, 1, NULL, 1, 10, NULL, '019ad735-8400-7000-9bea-9228b2e8814a', '019ad735-87e8-7000-90a4-8f68a86bc146', '019ad735-8400-7000-9bea-922206cdd9c3', false, NULL, false, 'default', 'agent', 'default', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(NULL, NULL, 1764547201000000, 1764547201000000, 1764547203000000, 10, NULL, NULL, NULL, 1, 1, 1, 0, 1, 100, NULL, '019ad735-8400-7000-9bea-9226d9486c7a', '019ad735-87e8-7000-90a4-8f66f87088c8', '019ad735-8400-7000-9bea-922206cdd9c3', false, NULL, false, 'default', 'agent', 'default', NULL, NULL, NULL, '\x68656c6c6f204164610a', 'text/plain', NULL, NULL),
	(NULL, NULL, 1764547201000000, 1764547201000000, 1764547203000000, 0, NULL, NULL, NULL, 1, 1, 1, 3, 1, 90, NULL, '019ad735-8400-7000-9bea-92272b6a725f', '019ad735-87e8-7000-90a4-8f67b6406d08', '019ad735-8400-7000-9bea-922206cdd9c3', false, true, false, 'default', 'agent', 'default', 'EXIT_3', 'exit code 3', NULL, NULL, NULL, NULL, NULL),
	(NULL, NULL, 1764547201000000, 1764547201000000, 1764547203000000, 0, NULL, NULL, NULL, 1, 1, 1, NULL, 1, 90, NULL, '019ad735-8400-7000-9bea-92278f72843f', '019ad735-87e8-7000-90a4-8f6836c056fb', '019ad735-8400-7000-9bea-922206cdd9c3', false, false, false, 'default', 'agent', 'default', 'NO_PROGRAM', 'there is no such program', NULL, NULL, NULL, NULL, NULL),
	(NULL, NULL, 1764547201000000, 1764547201000000, 1764547203000000, 0, NULL, NULL, NULL, 1, 1, 1, NULL, 1, 99, 15, '019ad735-8400-7000-9bea-9227e8e9b3d2', '019ad735-87e8-7000-90a4-8f683c243b04', '019ad735-8400-7000-9bea-922206cdd9c3', false, NULL, false, 'default', 'agent', 'default', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.sched_task_tag_2025_12 VALUES
	('019ad735-8400-7000-9bea-92272b6a725f', 'name', 'again', 'default'),
	('019ad735-8400-7000-9bea-92297da4d196', 'name', 'asked', 'default'),
	('019ad735-8400-7000-9bea-9226d9486c7a', 'name', 'done', 'default'),
	('019ad735-8400-7000-9bea-92278f72843f', 'name', 'failed', 'default'),
	('019ad735-8400-7000-9bea-9228eddf58cd', 'name', 'placed', 'default'),
	('019ad735-8400-7000-9bea-9228b2e8814a', 'name', 'running', 'default'),
	('019ad735-8400-7000-9bea-9229b9a15faf', 'name', 'spare-0', 'default'),
	('019ad735-8400-7000-9bea-922ab617824f', 'name', 'spare-1', 'default'),
	('019ad735-8400-7000-9bea-922b807b19c4', 'name', 'spare-2', 'default'),
	('019ad735-8400-7000-9bea-922c6b836c3c', 'name', 'spare-3', 'default'),
	('019ad735-8400-7000-9bea-922d29cefd5b', 'name', 'spare-4', 'default'),
	('019ad735-8400-7000-9bea-922da84d71e0', 'name', 'spare-5', 'default'),
	('019ad735-8400-7000-9bea-922e6e1b27f4', 'name', 'spare-6', 'default'),
	('019ad735-8400-7000-9bea-9227e8e9b3d2', 'name', 'stopped', 'default');
INSERT INTO public.sched_task_transition_2025_12 VALUES
	(1764547203000000, 5, 10, 10, '019ad735-8400-7000-9bea-9227e8e9b3d2', 'RequestCancel', 'ann', 'enough'),
	(1764547203000000, 5, 10, 10, '019ad735-8400-7000-9bea-9228b2e8814a', 'RequestCancel', 'anonymous', 'too long'),
	(1764547203000000, 2, 1, 99, '019ad735-8400-7000-9bea-922e6e1b27f4', 'Cancel', 'anonymous', 'before it began');
INSERT INTO public.sched_timer VALUES
	('019ad735-8400-7000-9bea-922ec5015abb', 1769904000000000),
	('019ad735-8400-7000-9bea-92272b6a725f', 1764550803000000);
ALTER TABLE ONLY public.sched_task_instance
    ADD CONSTRAINT idx_sched_task_instance_task_id PRIMARY KEY (task_id, token);
ALTER TABLE ONLY public.sched_agent
    ADD CONSTRAINT sched_agent_pkey PRIMARY KEY (namespace_id, id);
ALTER TABLE ONLY public.sched_artifact
    ADD CONSTRAINT sched_artifact_pkey PRIMARY KEY (task_id, token, name);
ALTER TABLE ONLY public.sched_blob_chunk
    ADD CONSTRAINT sched_blob_chunk_pkey PRIMARY KEY (content, number);
ALTER TABLE ONLY public.sched_blob
    ADD CONSTRAINT sched_blob_pkey PRIMARY KEY (digest);
ALTER TABLE ONLY public.sched_fire
    ADD CONSTRAINT sched_fire_pkey PRIMARY KEY (schedule_id, fire_time);
ALTER TABLE ONLY public.sched_idempotency
    ADD CONSTRAINT sched_idempotency_pkey PRIMARY KEY (namespace_id, method, request_id);
ALTER TABLE ONLY public.sched_job
    ADD CONSTRAINT sched_job_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.sched_job_revision
    ADD CONSTRAINT sched_job_revision_pkey PRIMARY KEY (job_id, revision);
ALTER TABLE ONLY public.sched_key_namespace
    ADD CONSTRAINT sched_key_namespace_pkey PRIMARY KEY (key_id, namespace_id);
ALTER TABLE ONLY public.sched_key
    ADD CONSTRAINT sched_key_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.sched_log_chunk
    ADD CONSTRAINT sched_log_chunk_pkey PRIMARY KEY (task_id, token, number);
ALTER TABLE ONLY public.sched_log_chunk_2025_12
    ADD CONSTRAINT sched_log_chunk_2025_12_pkey PRIMARY KEY (task_id, token, number);
ALTER TABLE ONLY public.sched_log_chunk_2026_01
    ADD CONSTRAINT sched_log_chunk_2026_01_pkey PRIMARY KEY (task_id, token, number);
ALTER TABLE ONLY public.sched_log_chunk_default
    ADD CONSTRAINT sched_log_chunk_default_pkey PRIMARY KEY (task_id, token, number);
ALTER TABLE ONLY public.sched_loop_lease
    ADD CONSTRAINT sched_loop_lease_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.sched_namespace
    ADD CONSTRAINT sched_namespace_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.sched_output_upload
    ADD CONSTRAINT sched_output_upload_pkey PRIMARY KEY (task_id, token);
ALTER TABLE ONLY public.sched_plugin
    ADD CONSTRAINT sched_plugin_pkey PRIMARY KEY (namespace_id, digest);
ALTER TABLE ONLY public.sched_ready
    ADD CONSTRAINT sched_ready_pkey PRIMARY KEY (task_id);
ALTER TABLE ONLY public.sched_request
    ADD CONSTRAINT sched_request_pkey PRIMARY KEY (digest);
ALTER TABLE ONLY public.sched_requirement
    ADD CONSTRAINT sched_requirement_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.sched_restore
    ADD CONSTRAINT sched_restore_pkey PRIMARY KEY (restored_at);
ALTER TABLE ONLY public.sched_schedule
    ADD CONSTRAINT sched_schedule_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.sched_schema
    ADD CONSTRAINT sched_schema_pkey PRIMARY KEY (revision);
ALTER TABLE ONLY public.sched_task
    ADD CONSTRAINT sched_task_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.sched_task_2025_12
    ADD CONSTRAINT sched_task_2025_12_pkey PRIMARY KEY (id) WITH (fillfactor='60');
ALTER TABLE ONLY public.sched_task_2026_01
    ADD CONSTRAINT sched_task_2026_01_pkey PRIMARY KEY (id) WITH (fillfactor='60');
ALTER TABLE ONLY public.sched_task_data
    ADD CONSTRAINT sched_task_data_pkey PRIMARY KEY (task_id);
ALTER TABLE ONLY public.sched_task_data_2025_12
    ADD CONSTRAINT sched_task_data_2025_12_pkey PRIMARY KEY (task_id);
ALTER TABLE ONLY public.sched_task_data_2026_01
    ADD CONSTRAINT sched_task_data_2026_01_pkey PRIMARY KEY (task_id);
ALTER TABLE ONLY public.sched_task_data_default
    ADD CONSTRAINT sched_task_data_default_pkey PRIMARY KEY (task_id);
ALTER TABLE ONLY public.sched_task_default
    ADD CONSTRAINT sched_task_default_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.sched_task_group
    ADD CONSTRAINT sched_task_group_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.sched_task_instance_2025_12
    ADD CONSTRAINT sched_task_instance_2025_12_pkey PRIMARY KEY (task_id, token) WITH (fillfactor='65');
ALTER TABLE ONLY public.sched_task_instance_2026_01
    ADD CONSTRAINT sched_task_instance_2026_01_pkey PRIMARY KEY (task_id, token) WITH (fillfactor='65');
ALTER TABLE ONLY public.sched_task_instance_default
    ADD CONSTRAINT sched_task_instance_default_pkey PRIMARY KEY (task_id, token);
ALTER TABLE ONLY public.sched_task_tag
    ADD CONSTRAINT sched_task_tag_pkey PRIMARY KEY (task_id, key);
ALTER TABLE ONLY public.sched_task_tag_2025_12
    ADD CONSTRAINT sched_task_tag_2025_12_pkey PRIMARY KEY (task_id, key);
ALTER TABLE ONLY public.sched_task_tag_2026_01
    ADD CONSTRAINT sched_task_tag_2026_01_pkey PRIMARY KEY (task_id, key);
ALTER TABLE ONLY public.sched_task_tag_default
    ADD CONSTRAINT sched_task_tag_default_pkey PRIMARY KEY (task_id, key);
ALTER TABLE ONLY public.sched_task_transition
    ADD CONSTRAINT sched_task_transition_pkey PRIMARY KEY (task_id, version);
ALTER TABLE ONLY public.sched_task_transition_2025_12
    ADD CONSTRAINT sched_task_transition_2025_12_pkey PRIMARY KEY (task_id, version);
ALTER TABLE ONLY public.sched_task_transition_2026_01
    ADD CONSTRAINT sched_task_transition_2026_01_pkey PRIMARY KEY (task_id, version);
ALTER TABLE ONLY public.sched_task_transition_default
    ADD CONSTRAINT sched_task_transition_default_pkey PRIMARY KEY (task_id, version);
ALTER TABLE ONLY public.sched_timer
    ADD CONSTRAINT sched_timer_pkey PRIMARY KEY (task_id);
ALTER TABLE ONLY public.sched_key
    ADD CONSTRAINT uq_sched_key_prefix UNIQUE (prefix);
ALTER TABLE ONLY public.sched_plugin
    ADD CONSTRAINT uq_sched_plugin_name UNIQUE (namespace_id, name, plugin_version);
ALTER TABLE ONLY public.sched_requirement
    ADD CONSTRAINT uq_sched_requirement_digest UNIQUE (namespace_id, digest);
CREATE INDEX idx_sched_agent_status ON public.sched_agent USING btree (status);
CREATE INDEX idx_sched_artifact_touched_at ON public.sched_artifact USING btree (touched_at) WHERE (NOT named);
CREATE INDEX idx_sched_fire_handled_at ON public.sched_fire USING btree (handled_at);
CREATE INDEX idx_sched_idempotency_expires_at ON public.sched_idempotency USING btree (expires_at);
CREATE INDEX idx_sched_job_created_at ON public.sched_job USING btree (namespace_id, created_at);
CREATE INDEX idx_sched_job_deleted_at ON public.sched_job USING btree (deleted_at) WHERE (deleted_at IS NOT NULL);
CREATE INDEX idx_sched_job_revision_requirement_id ON public.sched_job_revision USING btree (requirement_id);
CREATE INDEX idx_sched_key_namespace_namespace_id ON public.sched_key_namespace USING btree (namespace_id);
CREATE INDEX idx_sched_output_upload_touched_at ON public.sched_output_upload USING btree (touched_at);
CREATE INDEX idx_sched_ready_claim ON public.sched_ready USING btree (requirement_id, priority DESC, ready_at, task_id);
CREATE INDEX idx_sched_ready_start_by ON public.sched_ready USING btree (start_by) WHERE (start_by IS NOT NULL);
CREATE INDEX idx_sched_request_expires_at ON public.sched_request USING btree (expires_at);
CREATE INDEX idx_sched_requirement_touched_at ON public.sched_requirement USING btree (touched_at);
CREATE INDEX idx_sched_schedule_deleted_at ON public.sched_schedule USING btree (deleted_at) WHERE (deleted_at IS NOT NULL);
CREATE INDEX idx_sched_schedule_job_id ON public.sched_schedule USING btree (job_id);
CREATE INDEX idx_sched_schedule_next_fire_at ON public.sched_schedule USING btree (next_fire_at) WHERE (next_fire_at IS NOT NULL);
CREATE INDEX idx_sched_task_cancelling ON ONLY public.sched_task USING btree (agent_id) WHERE (cancel_requested AND (status = ANY (ARRAY[5, 10])));
CREATE INDEX idx_sched_task_end_by ON ONLY public.sched_task USING btree (end_by) WHERE ((end_by IS NOT NULL) AND (finished_at IS NULL));
CREATE INDEX idx_sched_task_group_closing ON public.sched_task_group USING btree (id) WHERE closing;
CREATE INDEX idx_sched_task_group_id ON ONLY public.sched_task USING btree (group_id, namespace_id, id, status) WHERE (group_id IS NOT NULL);
CREATE INDEX idx_sched_task_group_job_status ON public.sched_task_group USING btree (job_id, namespace_id, status, id);
CREATE INDEX idx_sched_task_group_status ON public.sched_task_group USING btree (namespace_id, status, id);
CREATE INDEX idx_sched_task_instance_job_status ON ONLY public.sched_task_instance USING btree (job_id, namespace_id, status, id);
CREATE INDEX idx_sched_task_instance_open ON ONLY public.sched_task_instance USING btree (agent_namespace_id, agent_id) WHERE (status = ANY (ARRAY[5, 10]));
CREATE INDEX idx_sched_task_instance_status ON ONLY public.sched_task_instance USING btree (namespace_id, status, id);
CREATE INDEX idx_sched_task_job_status ON ONLY public.sched_task USING btree (job_id, namespace_id, status, id);
CREATE INDEX idx_sched_task_paused ON ONLY public.sched_task USING btree (agent_id) WHERE (paused_from IS NOT NULL);
CREATE INDEX idx_sched_task_schedule_id ON ONLY public.sched_task USING btree (schedule_id, namespace_id, id) WHERE (schedule_id IS NOT NULL);
CREATE INDEX idx_sched_task_scheduled_at ON ONLY public.sched_task USING btree (namespace_id, scheduled_at);
CREATE INDEX idx_sched_task_status ON ONLY public.sched_task USING btree (namespace_id, status, id);
CREATE INDEX idx_sched_task_tag_value ON ONLY public.sched_task_tag USING btree (namespace_id, key, value, task_id);
CREATE INDEX idx_sched_timer_due_at ON public.sched_timer USING btree (due_at);
CREATE INDEX sched_task_2025_12_agent_id_idx ON public.sched_task_2025_12 USING btree (agent_id) WHERE (cancel_requested AND (status = ANY (ARRAY[5, 10])));
CREATE INDEX sched_task_2025_12_agent_id_idx1 ON public.sched_task_2025_12 USING btree (agent_id) WHERE (paused_from IS NOT NULL);
CREATE INDEX sched_task_2025_12_end_by_idx ON public.sched_task_2025_12 USING btree (end_by) WHERE ((end_by IS NOT NULL) AND (finished_at IS NULL));
CREATE INDEX sched_task_2025_12_group_id_namespace_id_id_status_idx ON public.sched_task_2025_12 USING btree (group_id, namespace_id, id, status) WHERE (group_id IS NOT NULL);
CREATE INDEX sched_task_2025_12_job_id_namespace_id_status_id_idx ON public.sched_task_2025_12 USING btree (job_id, namespace_id, status, id);
CREATE INDEX sched_task_2025_12_namespace_id_scheduled_at_idx ON public.sched_task_2025_12 USING btree (namespace_id, scheduled_at);
CREATE INDEX sched_task_2025_12_namespace_id_status_id_idx ON public.sched_task_2025_12 USING btree (namespace_id, status, id);
CREATE INDEX sched_task_2025_12_schedule_id_namespace_id_id_idx ON public.sched_task_2025_12 USING btree (schedule_id, namespace_id, id) WHERE (schedule_id IS NOT NULL);
CREATE INDEX sched_task_2026_01_agent_id_idx ON public.sched_task_2026_01 USING btree (agent_id) WHERE (cancel_requested AND (status = ANY (ARRAY[5, 10])));
CREATE INDEX sched_task_2026_01_agent_id_idx1 ON public.sched_task_2026_01 USING btree (agent_id) WHERE (paused_from IS NOT NULL);
CREATE INDEX sched_task_2026_01_end_by_idx ON public.sched_task_2026_01 USING btree (end_by) WHERE ((end_by IS NOT NULL) AND (finished_at IS NULL));
CREATE INDEX sched_task_2026_01_group_id_namespace_id_id_status_idx ON public.sched_task_2026_01 USING btree (group_id, namespace_id, id, status) WHERE (group_id IS NOT NULL);
CREATE INDEX sched_task_2026_01_job_id_namespace_id_status_id_idx ON public.sched_task_2026_01 USING btree (job_id, namespace_id, status, id);
CREATE INDEX sched_task_2026_01_namespace_id_scheduled_at_idx ON public.sched_task_2026_01 USING btree (namespace_id, scheduled_at);
CREATE INDEX sched_task_2026_01_namespace_id_status_id_idx ON public.sched_task_2026_01 USING btree (namespace_id, status, id);
CREATE INDEX sched_task_2026_01_schedule_id_namespace_id_id_idx ON public.sched_task_2026_01 USING btree (schedule_id, namespace_id, id) WHERE (schedule_id IS NOT NULL);
CREATE INDEX sched_task_default_agent_id_idx ON public.sched_task_default USING btree (agent_id) WHERE (cancel_requested AND (status = ANY (ARRAY[5, 10])));
CREATE INDEX sched_task_default_agent_id_idx1 ON public.sched_task_default USING btree (agent_id) WHERE (paused_from IS NOT NULL);
CREATE INDEX sched_task_default_end_by_idx ON public.sched_task_default USING btree (end_by) WHERE ((end_by IS NOT NULL) AND (finished_at IS NULL));
CREATE INDEX sched_task_default_group_id_namespace_id_id_status_idx ON public.sched_task_default USING btree (group_id, namespace_id, id, status) WHERE (group_id IS NOT NULL);
CREATE INDEX sched_task_default_job_id_namespace_id_status_id_idx ON public.sched_task_default USING btree (job_id, namespace_id, status, id);
CREATE INDEX sched_task_default_namespace_id_scheduled_at_idx ON public.sched_task_default USING btree (namespace_id, scheduled_at);
CREATE INDEX sched_task_default_namespace_id_status_id_idx ON public.sched_task_default USING btree (namespace_id, status, id);
CREATE INDEX sched_task_default_schedule_id_namespace_id_id_idx ON public.sched_task_default USING btree (schedule_id, namespace_id, id) WHERE (schedule_id IS NOT NULL);
CREATE INDEX sched_task_instance_2025_12_agent_namespace_id_agent_id_idx ON public.sched_task_instance_2025_12 USING btree (agent_namespace_id, agent_id) WHERE (status = ANY (ARRAY[5, 10]));
CREATE INDEX sched_task_instance_2025_12_job_id_namespace_id_status_id_idx ON public.sched_task_instance_2025_12 USING btree (job_id, namespace_id, status, id);
CREATE INDEX sched_task_instance_2025_12_namespace_id_status_id_idx ON public.sched_task_instance_2025_12 USING btree (namespace_id, status, id);
CREATE INDEX sched_task_instance_2026_01_agent_namespace_id_agent_id_idx ON public.sched_task_instance_2026_01 USING btree (agent_namespace_id, agent_id) WHERE (status = ANY (ARRAY[5, 10]));
CREATE INDEX sched_task_instance_2026_01_job_id_namespace_id_status_id_idx ON public.sched_task_instance_2026_01 USING btree (job_id, namespace_id, status, id);
CREATE INDEX sched_task_instance_2026_01_namespace_id_status_id_idx ON public.sched_task_instance_2026_01 USING btree (namespace_id, status, id);
CREATE INDEX sched_task_instance_default_agent_namespace_id_agent_id_idx ON public.sched_task_instance_default USING btree (agent_namespace_id, agent_id) WHERE (status = ANY (ARRAY[5, 10]));
CREATE INDEX sched_task_instance_default_job_id_namespace_id_status_id_idx ON public.sched_task_instance_default USING btree (job_id, namespace_id, status, id);
CREATE INDEX sched_task_instance_default_namespace_id_status_id_idx ON public.sched_task_instance_default USING btree (namespace_id, status, id);
CREATE INDEX sched_task_tag_2025_12_namespace_id_key_value_task_id_idx ON public.sched_task_tag_2025_12 USING btree (namespace_id, key, value, task_id);
CREATE INDEX sched_task_tag_2026_01_namespace_id_key_value_task_id_idx ON public.sched_task_tag_2026_01 USING btree (namespace_id, key, value, task_id);
CREATE INDEX sched_task_tag_default_namespace_id_key_value_task_id_idx ON public.sched_task_tag_default USING btree (namespace_id, key, value, task_id);
CREATE UNIQUE INDEX uq_sched_job_name ON public.sched_job USING btree (namespace_id, name) WHERE (deleted_at IS NULL);
CREATE UNIQUE INDEX uq_sched_key_name ON public.sched_key USING btree (name) WHERE (revoked_at IS NULL);
CREATE UNIQUE INDEX uq_sched_schedule_name ON public.sched_schedule USING btree (namespace_id, name) WHERE (deleted_at IS NULL);
ALTER INDEX public.sched_log_chunk_pkey ATTACH PARTITION public.sched_log_chunk_2025_12_pkey;
ALTER INDEX public.sched_log_chunk_pkey ATTACH PARTITION public.sched_log_chunk_2026_01_pkey;
ALTER INDEX public.sched_log_chunk_pkey ATTACH PARTITION public.sched_log_chunk_default_pkey;
ALTER INDEX public.idx_sched_task_cancelling ATTACH PARTITION public.sched_task_2025_12_agent_id_idx;
ALTER INDEX public.idx_sched_task_paused ATTACH PARTITION public.sched_task_2025_12_agent_id_idx1;
ALTER INDEX public.idx_sched_task_end_by ATTACH PARTITION public.sched_task_2025_12_end_by_idx;
ALTER INDEX public.idx_sched_task_group_id ATTACH PARTITION public.sched_task_2025_12_group_id_namespace_id_id_status_idx;
ALTER INDEX public.idx_sched_task_job_status ATTACH PARTITION public.sched_task_2025_12_job_id_namespace_id_status_id_idx;
ALTER INDEX public.idx_sched_task_scheduled_at ATTACH PARTITION public.sched_task_2025_12_namespace_id_scheduled_at_idx;
ALTER INDEX public.idx_sched_task_status ATTACH PARTITION public.sched_task_2025_12_namespace_id_status_id_idx;
ALTER INDEX public.sched_task_pkey ATTACH PARTITION public.sched_task_2025_12_pkey;
ALTER INDEX public.idx_sched_task_schedule_id ATTACH PARTITION public.sched_task_2025_12_schedule_id_namespace_id_id_idx;
ALTER INDEX public.idx_sched_task_cancelling ATTACH PARTITION public.sched_task_2026_01_agent_id_idx;
ALTER INDEX public.idx_sched_task_paused ATTACH PARTITION public.sched_task_2026_01_agent_id_idx1;
ALTER INDEX public.idx_sched_task_end_by ATTACH PARTITION public.sched_task_2026_01_end_by_idx;
ALTER INDEX public.idx_sched_task_group_id ATTACH PARTITION public.sched_task_2026_01_group_id_namespace_id_id_status_idx;
ALTER INDEX public.idx_sched_task_job_status ATTACH PARTITION public.sched_task_2026_01_job_id_namespace_id_status_id_idx;
ALTER INDEX public.idx_sched_task_scheduled_at ATTACH PARTITION public.sched_task_2026_01_namespace_id_scheduled_at_idx;
ALTER INDEX public.idx_sched_task_status ATTACH PARTITION public.sched_task_2026_01_namespace_id_status_id_idx;
ALTER INDEX public.sched_task_pkey ATTACH PARTITION public.sched_task_2026_01_pkey;
ALTER INDEX public.idx_sched_task_schedule_id ATTACH PARTITION public.sched_task_2026_01_schedule_id_namespace_id_id_idx;
ALTER INDEX public.sched_task_data_pkey ATTACH PARTITION public.sched_task_data_2025_12_pkey;
ALTER INDEX public.sched_task_data_pkey ATTACH PARTITION public.sched_task_data_2026_01_pkey;
ALTER INDEX public.sched_task_data_pkey ATTACH PARTITION public.sched_task_data_default_pkey;
ALTER INDEX public.idx_sched_task_cancelling ATTACH PARTITION public.sched_task_default_agent_id_idx;
ALTER INDEX public.idx_sched_task_paused ATTACH PARTITION public.sched_task_default_agent_id_idx1;
ALTER INDEX public.idx_sched_task_end_by ATTACH PARTITION public.sched_task_default_end_by_idx;
ALTER INDEX public.idx_sched_task_group_id ATTACH PARTITION public.sched_task_default_group_id_namespace_id_id_status_idx;
ALTER INDEX public.idx_sched_task_job_status ATTACH PARTITION public.sched_task_default_job_id_namespace_id_status_id_idx;
ALTER INDEX public.idx_sched_task_scheduled_at ATTACH PARTITION public.sched_task_default_namespace_id_scheduled_at_idx;
ALTER INDEX public.idx_sched_task_status ATTACH PARTITION public.sched_task_default_namespace_id_status_id_idx;
ALTER INDEX public.sched_task_pkey ATTACH PARTITION public.sched_task_default_pkey;
ALTER INDEX public.idx_sched_task_schedule_id ATTACH PARTITION public.sched_task_default_schedule_id_namespace_id_id_idx;
ALTER INDEX public.idx_sched_task_instance_open ATTACH PARTITION public.sched_task_instance_2025_12_agent_namespace_id_agent_id_idx;
ALTER INDEX public.idx_sched_task_instance_job_status ATTACH PARTITION public.sched_task_instance_2025_12_job_id_namespace_id_status_id_idx;
ALTER INDEX public.idx_sched_task_instance_status ATTACH PARTITION public.sched_task_instance_2025_12_namespace_id_status_id_idx;
ALTER INDEX public.idx_sched_task_instance_task_id ATTACH PARTITION public.sched_task_instance_2025_12_pkey;
ALTER INDEX public.idx_sched_task_instance_open ATTACH PARTITION public.sched_task_instance_2026_01_agent_namespace_id_agent_id_idx;
ALTER INDEX public.idx_sched_task_instance_job_status ATTACH PARTITION public.sched_task_instance_2026_01_job_id_namespace_id_status_id_idx;
ALTER INDEX public.idx_sched_task_instance_status ATTACH PARTITION public.sched_task_instance_2026_01_namespace_id_status_id_idx;
ALTER INDEX public.idx_sched_task_instance_task_id ATTACH PARTITION public.sched_task_instance_2026_01_pkey;
ALTER INDEX public.idx_sched_task_instance_open ATTACH PARTITION public.sched_task_instance_default_agent_namespace_id_agent_id_idx;
ALTER INDEX public.idx_sched_task_instance_job_status ATTACH PARTITION public.sched_task_instance_default_job_id_namespace_id_status_id_idx;
ALTER INDEX public.idx_sched_task_instance_status ATTACH PARTITION public.sched_task_instance_default_namespace_id_status_id_idx;
ALTER INDEX public.idx_sched_task_instance_task_id ATTACH PARTITION public.sched_task_instance_default_pkey;
ALTER INDEX public.idx_sched_task_tag_value ATTACH PARTITION public.sched_task_tag_2025_12_namespace_id_key_value_task_id_idx;
ALTER INDEX public.sched_task_tag_pkey ATTACH PARTITION public.sched_task_tag_2025_12_pkey;
ALTER INDEX public.idx_sched_task_tag_value ATTACH PARTITION public.sched_task_tag_2026_01_namespace_id_key_value_task_id_idx;
ALTER INDEX public.sched_task_tag_pkey ATTACH PARTITION public.sched_task_tag_2026_01_pkey;
ALTER INDEX public.idx_sched_task_tag_value ATTACH PARTITION public.sched_task_tag_default_namespace_id_key_value_task_id_idx;
ALTER INDEX public.sched_task_tag_pkey ATTACH PARTITION public.sched_task_tag_default_pkey;
ALTER INDEX public.sched_task_transition_pkey ATTACH PARTITION public.sched_task_transition_2025_12_pkey;
ALTER INDEX public.sched_task_transition_pkey ATTACH PARTITION public.sched_task_transition_2026_01_pkey;
ALTER INDEX public.sched_task_transition_pkey ATTACH PARTITION public.sched_task_transition_default_pkey;
CREATE TRIGGER sched_idempotency_written AFTER INSERT OR DELETE ON public.sched_idempotency FOR EACH ROW EXECUTE FUNCTION public.sched_idempotency_written();
