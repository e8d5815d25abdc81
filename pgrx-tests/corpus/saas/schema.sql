-- The multi-tenant platform: tenants everywhere, users and their events by tenant, one tenant large.
CREATE TABLE tenants (
    tenant_id SERIAL PRIMARY KEY,
    tenant_name VARCHAR(100),
    plan VARCHAR(20),
    created_at TIMESTAMPTZ
);
INSERT INTO tenants (tenant_name, plan, created_at)
SELECT 'tenant ' || i, (ARRAY['free', 'pro', 'enterprise', NULL])[1 + i % 4], timestamptz '2025-01-01 00:00+00' + i * interval '1 day'
FROM generate_series(1, 20) i;
-- @reference tenants
CREATE TABLE users (
    user_id BIGSERIAL,
    tenant_id INT NOT NULL,
    username VARCHAR(100),
    email VARCHAR(255),
    created_at TIMESTAMPTZ,
    PRIMARY KEY (tenant_id, user_id)
);
-- @distribute users tenant_id
CREATE TABLE user_events (
    event_id BIGSERIAL,
    tenant_id INT NOT NULL,
    user_id BIGINT NOT NULL,
    event_type VARCHAR(50),
    event_data JSONB,
    created_at TIMESTAMPTZ DEFAULT timestamptz '2025-06-01 12:00+00',
    PRIMARY KEY (tenant_id, event_id)
);
-- @distribute user_events tenant_id colocate users
CREATE INDEX user_events_tenant_created_idx ON user_events(tenant_id, created_at);
CREATE INDEX user_events_tenant_user_idx ON user_events(tenant_id, user_id);
INSERT INTO users (tenant_id, username, email, created_at)
SELECT CASE WHEN i % 3 = 0 THEN 7 ELSE 1 + i % 15 END, 'user' || i, CASE WHEN i % 5 <> 0 THEN 'u' || i || '@example.com' END,
       timestamptz '2025-02-01 00:00+00' + i * interval '7 hours'
FROM generate_series(1, 120) i;
INSERT INTO user_events (tenant_id, user_id, event_type, event_data, created_at)
SELECT u.tenant_id, u.user_id, (ARRAY['login', 'click', 'purchase', 'logout'])[1 + (u.user_id + n)::int % 4],
       jsonb_build_object('n', n, 'amount', (u.user_id * n) % 17, 'tags', jsonb_build_array('a', n)),
       timestamptz '2025-06-01 00:00+00' + (u.user_id * 3 + n) * interval '1 hour'
FROM users u, generate_series(1, 4) n WHERE u.user_id % 7 <> 0 ORDER BY u.user_id, n;
