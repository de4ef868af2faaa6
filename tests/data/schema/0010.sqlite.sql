BEGIN TRANSACTION;
CREATE TABLE sched_agent (
  namespace_id VARCHAR(63) NOT NULL,
  id VARCHAR(63) NOT NULL,
  state_id VARCHAR(64) NOT NULL,
  generation INTEGER NOT NULL,
  status SMALLINT NOT NULL,
  drained BOOLEAN NOT NULL,
  labels TEXT NOT NULL,
  declared_labels TEXT NOT NULL,
  serves TEXT NOT NULL,
  executors TEXT NOT NULL,
  slots INTEGER NOT NULL,
  hostname VARCHAR(255) NOT NULL,
  agent_version VARCHAR(63) NOT NULL,
  protocol_version INTEGER NOT NULL,
  session_id VARCHAR(64) NOT NULL,
  replica_id VARCHAR(64) NOT NULL,
  metrics TEXT NOT NULL,
  connected_at BIGINT NOT NULL,
  last_beat_at BIGINT NOT NULL,
  version INTEGER NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL, resources TEXT NOT NULL DEFAULT '{}',
  PRIMARY KEY (namespace_id, id),
  CONSTRAINT ck_sched_agent_status CHECK (status IN (1, 2, 3, 4, 5))
);
INSERT INTO "sched_agent" VALUES('default','agent','folder of agent',1,1,0,'{"zone":"a"}','{"zone":"a"}','["default"]','[{"name":"process","abi":0}]',20,'host of agent','1',1,'019ad735-8400-7000-93b5-fb38f948fd9c','one','{}',1764547200000000,1764547200000000,1,1764547200000000,1764547200000000,'{}');
CREATE TABLE sched_artifact (
  task_id BLOB NOT NULL,
  token INTEGER NOT NULL,
  name VARCHAR(512) NOT NULL,
  digest VARCHAR(64) NOT NULL,
  size BIGINT NOT NULL,
  content_type VARCHAR(255) NOT NULL,
  content VARCHAR(64) NOT NULL,
  stored BIGINT NOT NULL,
  complete BOOLEAN NOT NULL,
  named BOOLEAN NOT NULL,
  touched_at BIGINT NOT NULL,
  PRIMARY KEY (task_id, token, name),
  CONSTRAINT ck_sched_artifact_stored CHECK (stored <= size),
  CONSTRAINT ck_sched_artifact_named CHECK (complete OR NOT named)
);
CREATE TABLE sched_blob (
  digest VARCHAR(64) NOT NULL,
  content VARCHAR(64) NOT NULL,
  size BIGINT NOT NULL,
  holders INTEGER NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (digest)
);
INSERT INTO "sched_blob" VALUES('b44a3e028c3fde1edf0a35f3ab7550d6b004bb4e1220ef1f75581b7f50037fdf','b44a3e028c3fde1edf0a35f3ab7550d6b004bb4e1220ef1f75581b7f50037fdf',42,1,1764547200000000);
INSERT INTO "sched_blob" VALUES('abababababababababababababababababababababababababababababababab','abababababababababababababababababababababababababababababababab',14,1,1764547203000000);
CREATE TABLE sched_blob_chunk (
  content VARCHAR(64) NOT NULL,
  number INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (content, number)
);
INSERT INTO "sched_blob_chunk" VALUES('b44a3e028c3fde1edf0a35f3ab7550d6b004bb4e1220ef1f75581b7f50037fdf',0,X'0061736D01000000010401600000030201000710010C657865637574655F7461736B00000A040102000B');
INSERT INTO "sched_blob_chunk" VALUES('abababababababababababababababababababababababababababababababab',0,X'61206C61726765206F7574707574');
CREATE TABLE sched_fire (
  schedule_id BLOB NOT NULL,
  fire_time BIGINT NOT NULL,
  task_id BLOB,
  reason TEXT,
  handled_at BIGINT NOT NULL,
  PRIMARY KEY (schedule_id, fire_time),
  CONSTRAINT ck_sched_fire_outcome CHECK ((task_id IS NULL) <> (reason IS NULL))
);
INSERT INTO "sched_fire" VALUES(X'019AD735840070009BEA922552E1C5EE',1764547260000000,X'019AD7367E00700091F6CC5FA5D7349B',NULL,1764547264000000);
CREATE TABLE sched_idempotency (
  namespace_id VARCHAR(63) NOT NULL,
  method VARCHAR(127) NOT NULL,
  request_id VARCHAR(128) NOT NULL,
  fingerprint BLOB NOT NULL,
  resource_id VARCHAR(127) NOT NULL,
  refusal TEXT,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (namespace_id, method, request_id)
);
CREATE TABLE sched_job (
  id BLOB NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  name VARCHAR(63) NOT NULL,
  status SMALLINT NOT NULL,
  revision INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  deleted_at BIGINT, max_running INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (id),
  CONSTRAINT ck_sched_job_status CHECK (status IN (1, 2))
);
INSERT INTO "sched_job" VALUES(X'019AD735840070009BEA922206CDD9C3','default','good',1,2,2,1764547200000000,1764547200000000,NULL,0);
INSERT INTO "sched_job" VALUES(X'019AD735840070009BEA9222F06D4351','default','off',2,1,2,1764547200000000,1764547200000000,NULL,0);
INSERT INTO "sched_job" VALUES(X'019AD735840070009BEA92232E424EA8','default','gone',1,1,1,1764547200000000,1764547200000000,1764547200000000,0);
INSERT INTO "sched_job" VALUES(X'019AD735840070009BEA9223D29AA3EE','team','good',1,1,1,1764547200000000,1764547200000000,NULL,0);
INSERT INTO "sched_job" VALUES(X'019AD735840070009BEA9224B70D129F','default','plug',1,1,1,1764547200000000,1764547200000000,NULL,0);
CREATE TABLE sched_job_revision (
  job_id BLOB NOT NULL,
  revision INTEGER NOT NULL,
  requirement_id INTEGER NOT NULL,
  spec TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (job_id, revision)
);
INSERT INTO "sched_job_revision" VALUES(X'019AD735840070009BEA922206CDD9C3',1,1,'{"description":"says hello","environment":{"WHO":"Ada"},"config":{"executor":"process","cmd":"sh","args":["-c","echo $WHO"],"cwd":"","environment":{},"capture_output":true,"max_output_size":1048576,"timeout":3600.0,"max_retries":1,"retry_interval":3600.0,"labels":{"zone":"a"},"wasm":null,"grace_seconds":10.0,"max_stalled":3,"lost_after_seconds":60.0,"on_control_plane_lost":1,"priority":500,"retry":{"backoff":1,"multiplier":2.0,"max_interval_seconds":86400.0,"jitter":0.0,"max_elapsed_seconds":null,"retry_on":[],"fail_on":[]},"http":null,"placement":{"required":[],"preferred":[],"strategy":1,"sticky_key":"","agents":[],"slots":1,"resources":{}},"max_running":0,"artifacts":null,"output_content_type":"","function":null,"options":"","schedule_to_start_timeout_seconds":null,"total_timeout_seconds":null,"heartbeat_timeout_seconds":null,"resource_limits":{"max_memory_mb":null,"max_cpu_percent":null,"max_execution_time_secs":null,"max_output_size_bytes":null,"max_processes":null,"max_open_files":null}}}',1764547200000000);
INSERT INTO "sched_job_revision" VALUES(X'019AD735840070009BEA922206CDD9C3',2,1,'{"description":"says hello","environment":{"WHO":"Ada"},"config":{"executor":"process","cmd":"sh","args":["-c","echo $WHO"],"cwd":"","environment":{},"capture_output":true,"max_output_size":1048576,"timeout":60.0,"max_retries":1,"retry_interval":3600.0,"labels":{"zone":"a"},"wasm":null,"grace_seconds":10.0,"max_stalled":3,"lost_after_seconds":60.0,"on_control_plane_lost":1,"priority":500,"retry":{"backoff":1,"multiplier":2.0,"max_interval_seconds":86400.0,"jitter":0.0,"max_elapsed_seconds":null,"retry_on":[],"fail_on":[]},"http":null,"placement":{"required":[],"preferred":[],"strategy":1,"sticky_key":"","agents":[],"slots":1,"resources":{}},"max_running":0,"artifacts":null,"output_content_type":"","function":null,"options":"","schedule_to_start_timeout_seconds":null,"total_timeout_seconds":null,"heartbeat_timeout_seconds":null,"resource_limits":{"max_memory_mb":null,"max_cpu_percent":null,"max_execution_time_secs":null,"max_output_size_bytes":null,"max_processes":null,"max_open_files":null}}}',1764547200000000);
INSERT INTO "sched_job_revision" VALUES(X'019AD735840070009BEA9222F06D4351',1,2,'{"description":"","environment":{},"config":{"executor":"process","cmd":"true","args":[],"cwd":"","environment":{},"capture_output":true,"max_output_size":1048576,"timeout":3600.0,"max_retries":0,"retry_interval":30.0,"labels":{},"wasm":null,"grace_seconds":10.0,"max_stalled":3,"lost_after_seconds":60.0,"on_control_plane_lost":1,"priority":500,"retry":{"backoff":1,"multiplier":2.0,"max_interval_seconds":86400.0,"jitter":0.0,"max_elapsed_seconds":null,"retry_on":[],"fail_on":[]},"http":null,"placement":{"required":[],"preferred":[],"strategy":1,"sticky_key":"","agents":[],"slots":1,"resources":{}},"max_running":0,"artifacts":null,"output_content_type":"","function":null,"options":"","schedule_to_start_timeout_seconds":null,"total_timeout_seconds":null,"heartbeat_timeout_seconds":null,"resource_limits":{"max_memory_mb":null,"max_cpu_percent":null,"max_execution_time_secs":null,"max_output_size_bytes":null,"max_processes":null,"max_open_files":null}}}',1764547200000000);
INSERT INTO "sched_job_revision" VALUES(X'019AD735840070009BEA92232E424EA8',1,2,'{"description":"","environment":{},"config":{"executor":"process","cmd":"true","args":[],"cwd":"","environment":{},"capture_output":true,"max_output_size":1048576,"timeout":3600.0,"max_retries":0,"retry_interval":30.0,"labels":{},"wasm":null,"grace_seconds":10.0,"max_stalled":3,"lost_after_seconds":60.0,"on_control_plane_lost":1,"priority":500,"retry":{"backoff":1,"multiplier":2.0,"max_interval_seconds":86400.0,"jitter":0.0,"max_elapsed_seconds":null,"retry_on":[],"fail_on":[]},"http":null,"placement":{"required":[],"preferred":[],"strategy":1,"sticky_key":"","agents":[],"slots":1,"resources":{}},"max_running":0,"artifacts":null,"output_content_type":"","function":null,"options":"","schedule_to_start_timeout_seconds":null,"total_timeout_seconds":null,"heartbeat_timeout_seconds":null,"resource_limits":{"max_memory_mb":null,"max_cpu_percent":null,"max_execution_time_secs":null,"max_output_size_bytes":null,"max_processes":null,"max_open_files":null}}}',1764547200000000);
INSERT INTO "sched_job_revision" VALUES(X'019AD735840070009BEA9223D29AA3EE',1,3,'{"description":"","environment":{},"config":{"executor":"process","cmd":"true","args":[],"cwd":"","environment":{},"capture_output":true,"max_output_size":1048576,"timeout":3600.0,"max_retries":0,"retry_interval":30.0,"labels":{},"wasm":null,"grace_seconds":10.0,"max_stalled":3,"lost_after_seconds":60.0,"on_control_plane_lost":1,"priority":500,"retry":{"backoff":1,"multiplier":2.0,"max_interval_seconds":86400.0,"jitter":0.0,"max_elapsed_seconds":null,"retry_on":[],"fail_on":[]},"http":null,"placement":{"required":[],"preferred":[],"strategy":1,"sticky_key":"","agents":[],"slots":1,"resources":{}},"max_running":0,"artifacts":null,"output_content_type":"","function":null,"options":"","schedule_to_start_timeout_seconds":null,"total_timeout_seconds":null,"heartbeat_timeout_seconds":null,"resource_limits":{"max_memory_mb":null,"max_cpu_percent":null,"max_execution_time_secs":null,"max_output_size_bytes":null,"max_processes":null,"max_open_files":null}}}',1764547200000000);
INSERT INTO "sched_job_revision" VALUES(X'019AD735840070009BEA9224B70D129F',1,4,'{"description":"","environment":{},"config":{"executor":"wasm","cmd":"","args":[],"cwd":"","environment":{},"capture_output":true,"max_output_size":1048576,"timeout":3600.0,"max_retries":0,"retry_interval":30.0,"labels":{},"wasm":{"plugin":"b44a3e028c3fde1edf0a35f3ab7550d6b004bb4e1220ef1f75581b7f50037fdf","entry":"execute_task","config":{}},"grace_seconds":10.0,"max_stalled":3,"lost_after_seconds":60.0,"on_control_plane_lost":1,"priority":500,"retry":{"backoff":1,"multiplier":2.0,"max_interval_seconds":86400.0,"jitter":0.0,"max_elapsed_seconds":null,"retry_on":[],"fail_on":[]},"http":null,"placement":{"required":[],"preferred":[],"strategy":1,"sticky_key":"","agents":[],"slots":1,"resources":{}},"max_running":0,"artifacts":null,"output_content_type":"","function":null,"options":"","schedule_to_start_timeout_seconds":null,"total_timeout_seconds":null,"heartbeat_timeout_seconds":null,"resource_limits":{"max_memory_mb":null,"max_cpu_percent":null,"max_execution_time_secs":null,"max_output_size_bytes":null,"max_processes":null,"max_open_files":null}}}',1764547200000000);
CREATE TABLE sched_key (
  id BLOB NOT NULL,
  prefix VARCHAR(12) NOT NULL,
  digest BLOB NOT NULL,
  name VARCHAR(63) NOT NULL,
  description TEXT NOT NULL,
  roles SMALLINT NOT NULL,
  everywhere BOOLEAN NOT NULL,
  created_by VARCHAR(255) NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  last_used_at BIGINT,
  revoked_at BIGINT,
  revoked_by VARCHAR(255),
  version INTEGER NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT ck_sched_key_roles CHECK (roles BETWEEN 1 AND 31),
  CONSTRAINT ck_sched_key_revoked CHECK ((revoked_at IS NULL) = (revoked_by IS NULL)),
  CONSTRAINT uq_sched_key_prefix UNIQUE (prefix)
);
INSERT INTO "sched_key" VALUES(X'019AD735840070009BEA92268A352CB7','5lvlyxymy2zo',X'870738CF7D39392D74BCB9C9E6AAE74F9B6CC0029146249C9A7D3F6C91CBF2F3','ann','',2,0,'anonymous',1764547200000000,NULL,NULL,NULL,NULL,1);
CREATE TABLE sched_key_namespace (
  key_id BLOB NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  position SMALLINT NOT NULL,
  PRIMARY KEY (key_id, namespace_id)
);
INSERT INTO "sched_key_namespace" VALUES(X'019AD735840070009BEA92268A352CB7','default',0);
CREATE TABLE sched_loop_lease (
  name VARCHAR(63) NOT NULL,
  holder VARCHAR(64) NOT NULL,
  token INTEGER NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (name)
);
CREATE TABLE sched_namespace (
  id VARCHAR(63) NOT NULL,
  description TEXT NOT NULL,
  version INTEGER NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  after_task BLOB, max_running INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (id)
);
INSERT INTO "sched_namespace" VALUES('default','Where work goes that names no namespace.',1,1764547200000000,1764547200000000,NULL,0);
INSERT INTO "sched_namespace" VALUES('team','Others.',1,1764547200000000,1764547200000000,NULL,0);
CREATE TABLE sched_output_upload (
  task_id BLOB NOT NULL,
  token INTEGER NOT NULL,
  digest VARCHAR(64) NOT NULL,
  size BIGINT NOT NULL,
  content VARCHAR(64) NOT NULL,
  stored BIGINT NOT NULL,
  complete BOOLEAN NOT NULL,
  touched_at BIGINT NOT NULL,
  PRIMARY KEY (task_id, token),
  CONSTRAINT ck_sched_output_upload_stored CHECK (stored <= size)
);
CREATE TABLE sched_plugin (
  namespace_id VARCHAR(63) NOT NULL,
  digest VARCHAR(64) NOT NULL,
  name VARCHAR(63),
  plugin_version VARCHAR(63),
  status SMALLINT NOT NULL,
  reject_reason TEXT NOT NULL,
  size INTEGER NOT NULL,
  metadata TEXT NOT NULL,
  entries TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL, granted TEXT NOT NULL DEFAULT '', signatures TEXT NOT NULL DEFAULT '[]',
  PRIMARY KEY (namespace_id, digest),
  CONSTRAINT ck_sched_plugin_status CHECK (status IN (1, 2, 3)),
  CONSTRAINT uq_sched_plugin_name UNIQUE (namespace_id, name, plugin_version)
);
INSERT INTO "sched_plugin" VALUES('default','b44a3e028c3fde1edf0a35f3ab7550d6b004bb4e1220ef1f75581b7f50037fdf','small','1.0',1,'',42,'{}','["execute_task"]',1764547200000000,1764547200000000,'','[]');
CREATE TABLE sched_ready (
  task_id BLOB NOT NULL,
  requirement_id INTEGER NOT NULL,
  priority SMALLINT NOT NULL,
  ready_at BIGINT NOT NULL, start_by BIGINT,
  PRIMARY KEY (task_id)
);
INSERT INTO "sched_ready" VALUES(X'019AD735840070009BEA92297DA4D196',1,894,1764547200000000,NULL);
INSERT INTO "sched_ready" VALUES(X'019AD7367E00700091F6CC5FA5D7349B',1,500,1764547264000000,NULL);
CREATE TABLE sched_request (
  digest BLOB NOT NULL,
  content BLOB NOT NULL,
  resource_id BLOB,
  expires_at BIGINT NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  resource_name VARCHAR(127),
  refusal TEXT,
  PRIMARY KEY (digest)
);
INSERT INTO "sched_request" VALUES(X'37A8EEC143BF913ACF795D64CC9B9EC7',X'2BE6F8C26DCA8658C04E143DF40ED071',X'019AD735840070009BEA922206CDD9C3',1764633600000000,'default',NULL,NULL);
INSERT INTO "sched_request" VALUES(X'37A8EEC124542637C2E39C4384F6A064',X'3CA84685FEEF842B1B7215E5C70613EC',X'019AD735840070009BEA9226D9486C7A',1764633600000000,'default',NULL,NULL);
INSERT INTO "sched_request" VALUES(X'37A8EEC111E7E8F9B3F8829F357D1870',X'1A6B0E79740003892F190625BFB0437B',X'019AD735840070009BEA92272B6A725F',1764633600000000,'default',NULL,NULL);
INSERT INTO "sched_request" VALUES(X'37A8EEC13F5038466E1D4DC3AF877E2F',X'33A5EED019EA1F7D2203D341B996B299',X'019AD735840070009BEA92278F72843F',1764633600000000,'default',NULL,NULL);
INSERT INTO "sched_request" VALUES(X'37A8EEC16C5429EC1D08A3D34BAE1695',X'D51593828FAA13C14499B88061110FA7',X'019AD735840070009BEA9227E8E9B3D2',1764633600000000,'default',NULL,NULL);
INSERT INTO "sched_request" VALUES(X'37A8EEC1BC0269E2774A713CF9F000B9',X'1B601EB43DBB6995E7F2E1A4D1EE2AFB',X'019AD735840070009BEA9228B2E8814A',1764633600000000,'default',NULL,NULL);
INSERT INTO "sched_request" VALUES(X'37A8EEC1BF14785A3A7400F6F24C4A54',X'E38433EE3FB53CFE2A969A473D0DFFE8',X'019AD735840070009BEA9228EDDF58CD',1764633600000000,'default',NULL,NULL);
INSERT INTO "sched_request" VALUES(X'37A8EEC199EDC2B77B28237535914B37',X'E703FA554B107A469DCD4235718D2BE3',X'019AD735840070009BEA92297DA4D196',1764633600000000,'default',NULL,NULL);
INSERT INTO "sched_request" VALUES(X'37A8EEC14D6243809C97BAEBC0FADB06',X'D16AE4D36F72A18944315E96C7E125ED',X'019AD735840070009BEA9229B9A15FAF',1764633600000000,'default',NULL,NULL);
INSERT INTO "sched_request" VALUES(X'37A8EEC1F0FD31BD6648BD3F4503BDEE',X'A33A622B1C4FD2DFF115E9F78F1DBED8',X'019AD735840070009BEA922AB617824F',1764633600000000,'default',NULL,NULL);
INSERT INTO "sched_request" VALUES(X'37A8EEC19151FE7B17A73A9AB1803A1A',X'EB5F8F6FB50FA273791CED02CACDB7C3',X'019AD735840070009BEA922B807B19C4',1764633600000000,'default',NULL,NULL);
INSERT INTO "sched_request" VALUES(X'37A8EEC13F7EB67F5DF68B769C3E9EB2',X'757D57074DC619D2D2E995A1A2E90AE5',X'019AD735840070009BEA922C6B836C3C',1764633600000000,'default',NULL,NULL);
INSERT INTO "sched_request" VALUES(X'37A8EEC1241408AC8BE325FB577E2F0D',X'A3BA15A65E9FE29159A2E63A348CE7D7',X'019AD735840070009BEA922D29CEFD5B',1764633600000000,'default',NULL,NULL);
INSERT INTO "sched_request" VALUES(X'37A8EEC1916A1F775B723249537139F4',X'009B775038482A420EA634A91F52AA1F',X'019AD735840070009BEA922DA84D71E0',1764633600000000,'default',NULL,NULL);
INSERT INTO "sched_request" VALUES(X'37A8EEC1444AA5CD547CAE43B89BE276',X'BB018A5B2C29B23A57271AC32260480A',X'019AD735840070009BEA922E6E1B27F4',1764633600000000,'default',NULL,NULL);
CREATE TABLE sched_requirement (
  id INTEGER NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  digest VARCHAR(64) NOT NULL,
  spec TEXT NOT NULL, touched_at BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (id),
  CONSTRAINT uq_sched_requirement_digest UNIQUE (namespace_id, digest)
);
INSERT INTO "sched_requirement" VALUES(1,'default','da02dd665677681a94e36308ddc1c290546fd3d8bffa87c24aae7e1362129257','{"executor":"process","labels":{"zone":"a"}}',1764547200000000);
INSERT INTO "sched_requirement" VALUES(2,'default','fda9c33f0bfd965a3469e19998f440103da3562e5ff8f3dae7c18436675fd9a8','{"executor":"process","labels":{}}',1764547200000000);
INSERT INTO "sched_requirement" VALUES(3,'team','fda9c33f0bfd965a3469e19998f440103da3562e5ff8f3dae7c18436675fd9a8','{"executor":"process","labels":{}}',1764547200000000);
INSERT INTO "sched_requirement" VALUES(4,'default','4fbd2afcd88950cb7cd9e4346627568e01a4924cdea19132cfe143c2d20d9603','{"executor":"wasm","labels":{}}',1764547200000000);
CREATE TABLE sched_restore (
  restored_at BIGINT NOT NULL,
  token_floor INTEGER NOT NULL,
  taken_at BIGINT,
  PRIMARY KEY (restored_at),
  CONSTRAINT ck_sched_restore_token_floor CHECK (token_floor >= 1)
);
CREATE TABLE sched_schedule (
  id BLOB NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  name VARCHAR(63) NOT NULL,
  job_id BLOB NOT NULL,
  kind SMALLINT NOT NULL,
  status SMALLINT NOT NULL,
  timezone VARCHAR(63) NOT NULL,
  spec TEXT NOT NULL,
  parameters BLOB,
  parameters_type VARCHAR(255),
  next_fire_at BIGINT,
  last_fire_at BIGINT,
  fire_count INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  deleted_at BIGINT,
  PRIMARY KEY (id),
  CONSTRAINT ck_sched_schedule_status CHECK (status IN (1, 2, 3, 4)),
  CONSTRAINT ck_sched_schedule_next_fire CHECK (status = 1 OR next_fire_at IS NULL)
);
INSERT INTO "sched_schedule" VALUES(X'019AD735840070009BEA92258CE9F27C','default','noon',X'019AD735840070009BEA922206CDD9C3',1,3,'Europe/Berlin','{"description":"","cron_expression":"0 12 * * *","interval_seconds":0.0,"start_time":null,"end_time":null,"environment":{},"tags":{},"priority":null}',NULL,NULL,NULL,NULL,0,2,1764547200000000,1764547200000000,NULL);
INSERT INTO "sched_schedule" VALUES(X'019AD735840070009BEA922552E1C5EE','default','often',X'019AD735840070009BEA922206CDD9C3',2,1,'UTC','{"description":"","cron_expression":"","interval_seconds":60.0,"start_time":null,"end_time":null,"environment":{},"tags":{},"priority":null}',X'7B7D','application/json',1764547320000000,1764547260000000,1,1,1764547200000000,1764547200000000,NULL);
CREATE TABLE sched_schema (revision INTEGER PRIMARY KEY, applied_at BIGINT NOT NULL);
INSERT INTO "sched_schema" VALUES(1,1764547200000000);
INSERT INTO "sched_schema" VALUES(2,1764547200000000);
INSERT INTO "sched_schema" VALUES(3,1764547200000000);
INSERT INTO "sched_schema" VALUES(4,1764547200000000);
INSERT INTO "sched_schema" VALUES(5,1764547200000000);
INSERT INTO "sched_schema" VALUES(6,1764547200000000);
INSERT INTO "sched_schema" VALUES(7,1764547200000000);
INSERT INTO "sched_schema" VALUES(8,1764547200000000);
INSERT INTO "sched_schema" VALUES(9,1764547200000000);
INSERT INTO "sched_schema" VALUES(10,1764547200000000);
CREATE TABLE sched_task (
  id BLOB NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  job_id BLOB NOT NULL,
  job_revision INTEGER NOT NULL,
  requirement_id INTEGER NOT NULL,
  schedule_id BLOB,
  status SMALLINT NOT NULL,
  priority SMALLINT NOT NULL,
  scheduled_at BIGINT NOT NULL,
  attempt INTEGER NOT NULL,
  max_retries INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  token INTEGER NOT NULL,
  result_token INTEGER NOT NULL,
  stalled INTEGER NOT NULL,
  cause SMALLINT NOT NULL,
  cancel_requested BOOLEAN NOT NULL,
  dead_reason SMALLINT NOT NULL,
  agent_id VARCHAR(63),
  instance_id BLOB,
  wake_at BIGINT,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  started_at BIGINT,
  finished_at BIGINT,
  version INTEGER NOT NULL, start_within BIGINT, end_within BIGINT, end_by BIGINT, paused_from SMALLINT, paused_at BIGINT, group_id BLOB, shard_index INTEGER, shard_total INTEGER,
  PRIMARY KEY (id),
  CONSTRAINT ck_sched_task_finished CHECK ((status IN (40, 90, 99, 100)) = (finished_at IS NOT NULL)),
  CONSTRAINT ck_sched_task_wake CHECK ((status = 35) = (wake_at IS NOT NULL)),
  CONSTRAINT ck_sched_task_placed CHECK (status NOT IN (5, 10) OR instance_id IS NOT NULL),
  CONSTRAINT ck_sched_task_token CHECK (result_token <= token)
);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA92297DA4D196','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,1,894,1764547200000000,0,1,1,0,0,0,1,0,0,NULL,NULL,NULL,1764547200000000,1764547200000000,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA922EC5015ABB','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,1,500,1769904000000000,0,1,1,0,0,0,1,0,0,NULL,NULL,NULL,1764547200000000,1764547200000000,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA9228EDDF58CD','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,5,895,1764547200000000,1,1,1,1,0,0,1,0,0,'agent',X'019AD73587E8700090A48F697C6E09C8',NULL,1764547200000000,1764547201000000,NULL,NULL,3,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA9226D9486C7A','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,100,900,1764547200000000,1,1,1,1,1,0,1,0,0,'agent',X'019AD73587E8700090A48F66F87088C8',NULL,1764547200000000,1764547203000000,1764547201000000,1764547203000000,5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA92272B6A725F','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,35,899,1764547200000000,1,1,1,1,1,0,2,0,0,'agent',X'019AD73587E8700090A48F67B6406D08',1764550803000000,1764547200000000,1764547203000000,1764547201000000,NULL,5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA92278F72843F','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,90,898,1764547200000000,1,1,1,1,1,0,1,0,2,'agent',X'019AD73587E8700090A48F6836C056FB',NULL,1764547200000000,1764547203000000,1764547201000000,1764547203000000,5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA9227E8E9B3D2','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,99,897,1764547200000000,1,1,1,1,1,0,1,1,0,'agent',X'019AD73587E8700090A48F683C243B04',NULL,1764547200000000,1764547203000000,1764547201000000,1764547203000000,6,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA9228B2E8814A','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,10,896,1764547200000000,1,1,1,1,0,0,1,1,0,'agent',X'019AD73587E8700090A48F68A86BC146',NULL,1764547200000000,1764547203000000,1764547201000000,NULL,5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA922E6E1B27F4','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,99,887,1764547200000000,0,1,1,0,0,0,1,1,0,NULL,NULL,NULL,1764547200000000,1764547203000000,NULL,1764547203000000,2,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA9229B9A15FAF','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,2,893,1764547200000000,0,1,1,0,0,0,1,0,0,NULL,NULL,NULL,1764547200000000,1764547200000000,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA922AB617824F','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,3,892,1764547200000000,0,1,1,0,0,0,1,0,0,NULL,NULL,NULL,1764547200000000,1764547200000000,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA922B807B19C4','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,20,891,1764547200000000,0,1,1,0,0,0,1,0,0,NULL,NULL,NULL,1764547200000000,1764547200000000,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA922C6B836C3C','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,25,890,1764547200000000,0,1,1,0,0,0,1,0,0,NULL,NULL,NULL,1764547200000000,1764547200000000,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA922D29CEFD5B','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,30,889,1764547200000000,0,1,1,0,0,0,1,0,0,NULL,NULL,NULL,1764547200000000,1764547200000000,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD735840070009BEA922DA84D71E0','default',X'019AD735840070009BEA922206CDD9C3',2,1,NULL,40,888,1764547200000000,0,1,1,0,0,0,1,0,0,NULL,NULL,NULL,1764547200000000,1764547200000000,NULL,1764547203000000,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task" VALUES(X'019AD7367E00700091F6CC5FA5D7349B','default',X'019AD735840070009BEA922206CDD9C3',2,1,X'019AD735840070009BEA922552E1C5EE',1,500,1764547260000000,0,1,1,0,0,0,1,0,0,NULL,NULL,NULL,1764547264000000,1764547264000000,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE sched_task_data (
  task_id BLOB NOT NULL,
  parameters BLOB,
  parameters_type VARCHAR(255),
  environment TEXT NOT NULL,
  tags TEXT NOT NULL,
  timeout DOUBLE,
  cancel_reason TEXT NOT NULL,
  traceparent VARCHAR(64) NOT NULL, tracestate TEXT NOT NULL DEFAULT '', baggage TEXT NOT NULL DEFAULT '', labels TEXT NOT NULL DEFAULT '{}',
  PRIMARY KEY (task_id)
);
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA9226D9486C7A',X'7B226E223A20317D','application/json','{"N":"0"}','{"name":"done"}',NULL,'','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA92272B6A725F',X'7B226E223A20317D','application/json','{"N":"1"}','{"name":"again"}',NULL,'','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA92278F72843F',X'7B226E223A20317D','application/json','{"N":"2"}','{"name":"failed"}',NULL,'','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA9228EDDF58CD',X'7B226E223A20317D','application/json','{"N":"5"}','{"name":"placed"}',NULL,'','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA92297DA4D196',X'7B226E223A20317D','application/json','{"N":"6"}','{"name":"asked"}',NULL,'','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA9229B9A15FAF',X'7B226E223A20317D','application/json','{"N":"7"}','{"name":"spare-0"}',NULL,'','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA922AB617824F',X'7B226E223A20317D','application/json','{"N":"8"}','{"name":"spare-1"}',NULL,'','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA922B807B19C4',X'7B226E223A20317D','application/json','{"N":"9"}','{"name":"spare-2"}',NULL,'','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA922C6B836C3C',X'7B226E223A20317D','application/json','{"N":"10"}','{"name":"spare-3"}',NULL,'','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA922D29CEFD5B',X'7B226E223A20317D','application/json','{"N":"11"}','{"name":"spare-4"}',NULL,'','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA922DA84D71E0',X'7B226E223A20317D','application/json','{"N":"12"}','{"name":"spare-5"}',NULL,'','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA922EC5015ABB',NULL,NULL,'{}','{}',NULL,'','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA9227E8E9B3D2',X'7B226E223A20317D','application/json','{"N":"3"}','{"name":"stopped"}',NULL,'enough','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA9228B2E8814A',X'7B226E223A20317D','application/json','{"N":"4"}','{"name":"running"}',NULL,'too long','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD735840070009BEA922E6E1B27F4',X'7B226E223A20317D','application/json','{"N":"13"}','{"name":"spare-6"}',NULL,'before it began','','','','{}');
INSERT INTO "sched_task_data" VALUES(X'019AD7367E00700091F6CC5FA5D7349B',X'7B7D','application/json','{}','{}',NULL,'','','','','{}');
CREATE TABLE sched_task_group (
  id BLOB NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  job_id BLOB NOT NULL,
  job_revision INTEGER NOT NULL,
  mode SMALLINT NOT NULL,
  policy SMALLINT NOT NULL,
  policy_count INTEGER NOT NULL,
  cancel_rest BOOLEAN NOT NULL,
  labels TEXT NOT NULL,
  tags TEXT NOT NULL,
  status SMALLINT NOT NULL,
  total INTEGER NOT NULL,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  skipped INTEGER NOT NULL,
  closing BOOLEAN NOT NULL,
  closed_by VARCHAR(255) NOT NULL,
  closed_why TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  decided_at BIGINT,
  finished_at BIGINT,
  version INTEGER NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT ck_sched_task_group_status CHECK (status IN (10, 90, 99, 100)),
  CONSTRAINT ck_sched_task_group_decided CHECK ((status = 10) = (decided_at IS NULL)),
  CONSTRAINT ck_sched_task_group_finished CHECK ((succeeded + failed + cancelled + skipped = total) = (finished_at IS NOT NULL)),
  CONSTRAINT ck_sched_task_group_tally CHECK (succeeded >= 0 AND failed >= 0 AND cancelled >= 0 AND skipped >= 0 AND succeeded + failed + cancelled + skipped <= total)
);
CREATE TABLE "sched_task_instance" (
  task_id BLOB NOT NULL,
  token INTEGER NOT NULL,
  id BLOB NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  job_id BLOB NOT NULL,
  agent_id VARCHAR(63) NOT NULL,
  agent_namespace_id VARCHAR(63) NOT NULL,
  attempt INTEGER NOT NULL,
  cause SMALLINT NOT NULL,
  epoch INTEGER NOT NULL,
  status SMALLINT NOT NULL,
  lease BIGINT,
  timeout BIGINT,
  created_at BIGINT NOT NULL,
  started_at BIGINT,
  finished_at BIGINT,
  exit_code INTEGER,
  signal SMALLINT,
  late_result BOOLEAN NOT NULL,
  error_code VARCHAR(64),
  error_message TEXT,
  error_retryable BOOLEAN,
  metrics TEXT,
  output_size BIGINT NOT NULL,
  output_truncated BOOLEAN NOT NULL,
  output BLOB,
  output_type VARCHAR(255),
  output_digest VARCHAR(64),
  progress DOUBLE,
  progress_message TEXT,
  grace BIGINT DEFAULT 0,
  paused BIGINT DEFAULT 0,
  PRIMARY KEY (task_id, token),
  CONSTRAINT ck_sched_task_instance_finished CHECK ((status IN (5, 10)) = (finished_at IS NULL)),
  CONSTRAINT ck_sched_task_instance_terms CHECK (status NOT IN (5, 10) OR (lease + timeout + grace + paused) IS NOT NULL),
  CONSTRAINT ck_sched_task_instance_token CHECK (token >= 1)
);
INSERT INTO "sched_task_instance" VALUES(X'019AD735840070009BEA9228EDDF58CD',1,X'019AD73587E8700090A48F697C6E09C8','default',X'019AD735840070009BEA922206CDD9C3','agent','default',1,1,1,5,60000000,60000000,1764547201000000,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,10000000,0);
INSERT INTO "sched_task_instance" VALUES(X'019AD735840070009BEA9228B2E8814A',1,X'019AD73587E8700090A48F68A86BC146','default',X'019AD735840070009BEA922206CDD9C3','agent','default',1,1,1,10,60000000,60000000,1764547201000000,1764547201000000,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,10000000,0);
INSERT INTO "sched_task_instance" VALUES(X'019AD735840070009BEA9226D9486C7A',1,X'019AD73587E8700090A48F66F87088C8','default',X'019AD735840070009BEA922206CDD9C3','agent','default',1,1,1,100,NULL,NULL,1764547201000000,1764547201000000,1764547203000000,0,NULL,0,NULL,NULL,NULL,NULL,10,0,X'68656C6C6F204164610A','text/plain',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task_instance" VALUES(X'019AD735840070009BEA92272B6A725F',1,X'019AD73587E8700090A48F67B6406D08','default',X'019AD735840070009BEA922206CDD9C3','agent','default',1,1,1,90,NULL,NULL,1764547201000000,1764547201000000,1764547203000000,3,NULL,0,'EXIT_3','exit code 3',1,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task_instance" VALUES(X'019AD735840070009BEA92278F72843F',1,X'019AD73587E8700090A48F6836C056FB','default',X'019AD735840070009BEA922206CDD9C3','agent','default',1,1,1,90,NULL,NULL,1764547201000000,1764547201000000,1764547203000000,NULL,NULL,0,'NO_PROGRAM','there is no such program',0,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sched_task_instance" VALUES(X'019AD735840070009BEA9227E8E9B3D2',1,X'019AD73587E8700090A48F683C243B04','default',X'019AD735840070009BEA922206CDD9C3','agent','default',1,1,1,99,NULL,NULL,1764547201000000,1764547201000000,1764547203000000,NULL,15,0,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE sched_task_tag (
  task_id BLOB NOT NULL,
  "key" VARCHAR(63) NOT NULL,
  value VARCHAR(255) NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  PRIMARY KEY (task_id, "key")
);
INSERT INTO "sched_task_tag" VALUES(X'019AD735840070009BEA92272B6A725F','name','again','default');
INSERT INTO "sched_task_tag" VALUES(X'019AD735840070009BEA92297DA4D196','name','asked','default');
INSERT INTO "sched_task_tag" VALUES(X'019AD735840070009BEA9226D9486C7A','name','done','default');
INSERT INTO "sched_task_tag" VALUES(X'019AD735840070009BEA92278F72843F','name','failed','default');
INSERT INTO "sched_task_tag" VALUES(X'019AD735840070009BEA9228EDDF58CD','name','placed','default');
INSERT INTO "sched_task_tag" VALUES(X'019AD735840070009BEA9228B2E8814A','name','running','default');
INSERT INTO "sched_task_tag" VALUES(X'019AD735840070009BEA9229B9A15FAF','name','spare-0','default');
INSERT INTO "sched_task_tag" VALUES(X'019AD735840070009BEA922AB617824F','name','spare-1','default');
INSERT INTO "sched_task_tag" VALUES(X'019AD735840070009BEA922B807B19C4','name','spare-2','default');
INSERT INTO "sched_task_tag" VALUES(X'019AD735840070009BEA922C6B836C3C','name','spare-3','default');
INSERT INTO "sched_task_tag" VALUES(X'019AD735840070009BEA922D29CEFD5B','name','spare-4','default');
INSERT INTO "sched_task_tag" VALUES(X'019AD735840070009BEA922DA84D71E0','name','spare-5','default');
INSERT INTO "sched_task_tag" VALUES(X'019AD735840070009BEA922E6E1B27F4','name','spare-6','default');
INSERT INTO "sched_task_tag" VALUES(X'019AD735840070009BEA9227E8E9B3D2','name','stopped','default');
CREATE TABLE sched_task_transition (
  task_id BLOB NOT NULL,
  version INTEGER NOT NULL,
  at BIGINT NOT NULL,
  transition VARCHAR(32) NOT NULL,
  from_status SMALLINT NOT NULL,
  to_status SMALLINT NOT NULL,
  subject VARCHAR(255) NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (task_id, version)
);
INSERT INTO "sched_task_transition" VALUES(X'019AD735840070009BEA9227E8E9B3D2',5,1764547203000000,'RequestCancel',10,10,'ann','enough');
INSERT INTO "sched_task_transition" VALUES(X'019AD735840070009BEA9228B2E8814A',5,1764547203000000,'RequestCancel',10,10,'anonymous','too long');
INSERT INTO "sched_task_transition" VALUES(X'019AD735840070009BEA922E6E1B27F4',2,1764547203000000,'Cancel',1,99,'anonymous','before it began');
CREATE TABLE sched_timer (
  task_id BLOB NOT NULL,
  due_at BIGINT NOT NULL,
  PRIMARY KEY (task_id)
);
INSERT INTO "sched_timer" VALUES(X'019AD735840070009BEA922EC5015ABB',1769904000000000);
INSERT INTO "sched_timer" VALUES(X'019AD735840070009BEA92272B6A725F',1764550803000000);
CREATE INDEX idx_sched_agent_status ON sched_agent (status);
CREATE INDEX idx_sched_idempotency_expires_at ON sched_idempotency (expires_at);
CREATE INDEX idx_sched_job_created_at ON sched_job (namespace_id, created_at);
CREATE UNIQUE INDEX uq_sched_job_name ON sched_job (namespace_id, name) WHERE deleted_at IS NULL;
CREATE INDEX idx_sched_output_upload_touched_at ON sched_output_upload (touched_at);
CREATE INDEX idx_sched_ready_claim ON sched_ready (requirement_id, priority DESC, ready_at, task_id);
CREATE INDEX idx_sched_schedule_job_id ON sched_schedule (job_id);
CREATE INDEX idx_sched_schedule_next_fire_at ON sched_schedule (next_fire_at) WHERE next_fire_at IS NOT NULL;
CREATE UNIQUE INDEX uq_sched_schedule_name ON sched_schedule (namespace_id, name) WHERE deleted_at IS NULL;
CREATE INDEX idx_sched_task_cancelling ON sched_task (agent_id) WHERE cancel_requested AND status IN (5, 10);
CREATE INDEX idx_sched_task_scheduled_at ON sched_task (namespace_id, scheduled_at);
CREATE INDEX idx_sched_task_status ON sched_task (namespace_id, status, id);
CREATE INDEX idx_sched_task_tag_value ON sched_task_tag (namespace_id, "key", value, task_id);
CREATE INDEX idx_sched_timer_due_at ON sched_timer (due_at);
CREATE UNIQUE INDEX uq_sched_key_name ON sched_key (name) WHERE revoked_at IS NULL;
CREATE INDEX idx_sched_key_namespace_namespace_id ON sched_key_namespace (namespace_id);
CREATE INDEX idx_sched_job_deleted_at ON sched_job (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX idx_sched_schedule_deleted_at ON sched_schedule (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX idx_sched_fire_handled_at ON sched_fire (handled_at);
CREATE INDEX idx_sched_task_job_status ON sched_task (job_id, namespace_id, status, id);
CREATE INDEX idx_sched_task_schedule_id ON sched_task (schedule_id, namespace_id, id) WHERE schedule_id IS NOT NULL;
CREATE INDEX idx_sched_artifact_touched_at ON sched_artifact (touched_at) WHERE NOT named;
CREATE INDEX idx_sched_task_end_by ON sched_task (end_by) WHERE end_by IS NOT NULL AND finished_at IS NULL;
CREATE INDEX idx_sched_task_paused ON sched_task (agent_id) WHERE paused_from IS NOT NULL;
CREATE INDEX idx_sched_ready_start_by ON sched_ready (start_by) WHERE start_by IS NOT NULL;
CREATE INDEX idx_sched_task_group_id ON sched_task (group_id, namespace_id, id, status) WHERE group_id IS NOT NULL;
CREATE INDEX idx_sched_task_group_status ON sched_task_group (namespace_id, status, id);
CREATE INDEX idx_sched_task_group_job_status ON sched_task_group (job_id, namespace_id, status, id);
CREATE INDEX idx_sched_task_group_closing ON sched_task_group (id) WHERE closing;
CREATE INDEX idx_sched_requirement_touched_at ON sched_requirement (touched_at);
CREATE INDEX idx_sched_job_revision_requirement_id ON sched_job_revision (requirement_id);
CREATE INDEX idx_sched_request_expires_at ON sched_request (expires_at);
CREATE INDEX idx_sched_task_instance_id ON sched_task_instance (id);
CREATE INDEX idx_sched_task_instance_task_id ON sched_task_instance (task_id);
CREATE INDEX idx_sched_task_instance_status ON sched_task_instance (namespace_id, status, id);
CREATE INDEX idx_sched_task_instance_job_status ON sched_task_instance (job_id, namespace_id, status, id);
CREATE INDEX idx_sched_task_instance_open ON sched_task_instance (agent_namespace_id, agent_id) WHERE status IN (5, 10);
COMMIT;
-- the second file: logs
BEGIN TRANSACTION;
CREATE TABLE sched_log_chunk (
  task_id BLOB NOT NULL,
  token INTEGER NOT NULL,
  number INTEGER NOT NULL,
  instance_id BLOB NOT NULL,
  lines BLOB NOT NULL,
  PRIMARY KEY (task_id, token, number)
);
INSERT INTO "sched_log_chunk" VALUES(X'019AD735840070009BEA9226D9486C7A',1,1,X'019AD73587E8700090A48F66F87088C8',X'78019392E2601462E368DCBAF9249B145F4A7E5EAA95427AD1E13D87E7A77201006CD00967');
INSERT INTO "sched_log_chunk" VALUES(X'019AD735840070009BEA92272B6A725F',1,1,X'019AD73587E8700090A48F67B6406D08',X'78019392E6601462E368DCBAF9249B147F627A62669E95427AD1E13D87E7A7720100758409C3');
INSERT INTO "sched_log_chunk" VALUES(X'019AD735840070009BEA92278F72843F',1,1,X'019AD73587E8700090A48F6836C056FB',X'78019392E1601462E368DCBAF9249B94405A62664E6A8A95427AD1E13D87E7A77201007F5F0A2A');
INSERT INTO "sched_log_chunk" VALUES(X'019AD735840070009BEA9227E8E9B3D2',1,1,X'019AD73587E8700090A48F683C243B04',X'78019392E5601462E368DCBAF9249B946071497E41416A8A95427AD1E13D87E7A77201008CBC0AC6');
INSERT INTO "sched_log_chunk" VALUES(X'019AD735840070009BEA9228B2E8814A',1,1,X'019AD73587E8700090A48F68A86BC146',X'78019392E5601462E368DCBAF9249B946051695E5E665EBA95427AD1E13D87E7A77201008CC20AC8');
CREATE TABLE sched_schema (revision INTEGER PRIMARY KEY, applied_at BIGINT NOT NULL);
INSERT INTO "sched_schema" VALUES(1,1764547200000000);
INSERT INTO "sched_schema" VALUES(2,1764547200000000);
INSERT INTO "sched_schema" VALUES(3,1764547200000000);
INSERT INTO "sched_schema" VALUES(4,1764547200000000);
INSERT INTO "sched_schema" VALUES(5,1764547200000000);
INSERT INTO "sched_schema" VALUES(6,1764547200000000);
INSERT INTO "sched_schema" VALUES(7,1764547200000000);
INSERT INTO "sched_schema" VALUES(8,1764547200000000);
INSERT INTO "sched_schema" VALUES(9,1764547200000000);
INSERT INTO "sched_schema" VALUES(10,1764547200000000);
COMMIT;
