CREATE TABLE sched_request (
  digest UUID NOT NULL,
  content UUID NOT NULL,
  resource_id UUID,
  expires_at BIGINT NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  resource_name VARCHAR(127),
  refusal TEXT,
  PRIMARY KEY (digest)
);

CREATE INDEX idx_sched_request_expires_at ON sched_request (expires_at);

CREATE FUNCTION sched_request_digest(namespace_id TEXT, method TEXT, request_id TEXT) RETURNS UUID IMMUTABLE LANGUAGE sql AS $$
  SELECT encode(
    substr(sha256(convert_to(namespace_id, 'UTF8')), 1, 4)
    || substr(sha256(convert_to(namespace_id || chr(10) || method || chr(10) || request_id, 'UTF8')), 1, 12),
    'hex'
  )::uuid
$$;

CREATE FUNCTION sched_request_resource(resource_id TEXT) RETURNS UUID IMMUTABLE LANGUAGE sql AS $$
  SELECT CASE
    WHEN translate(resource_id, '123456789abcdef', '000000000000000') = '00000000-0000-0000-0000-000000000000' THEN resource_id::uuid
  END
$$;

CREATE FUNCTION sched_idempotency_written() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE TRIGGER sched_idempotency_written AFTER INSERT OR DELETE ON sched_idempotency
FOR EACH ROW EXECUTE FUNCTION sched_idempotency_written();

INSERT INTO sched_request (digest, content, resource_id, expires_at, namespace_id, resource_name, refusal)
SELECT
  sched_request_digest(namespace_id, method, request_id),
  encode(substr(fingerprint, 1, 16), 'hex')::uuid,
  id,
  expires_at,
  namespace_id,
  CASE WHEN id IS NULL THEN nullif(resource_id, '') END,
  refusal
FROM (SELECT *, sched_request_resource(resource_id) AS id FROM sched_idempotency OFFSET 0) AS used;

DROP INDEX idx_sched_task_instance_id;

DROP INDEX idx_sched_task_instance_task_id;

ALTER TABLE sched_task_instance RENAME CONSTRAINT sched_task_instance_pkey TO idx_sched_task_instance_task_id;

ALTER TABLE sched_task_instance ALTER COLUMN lease DROP NOT NULL;
ALTER TABLE sched_task_instance ALTER COLUMN timeout DROP NOT NULL;
ALTER TABLE sched_task_instance ALTER COLUMN grace DROP NOT NULL;
ALTER TABLE sched_task_instance ALTER COLUMN paused DROP NOT NULL;

ALTER TABLE sched_task_instance ADD CONSTRAINT ck_sched_task_instance_terms CHECK (status NOT IN (5, 10) OR (lease + timeout + grace + paused) IS NOT NULL);
