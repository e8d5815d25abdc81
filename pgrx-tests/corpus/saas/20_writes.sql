INSERT INTO users (tenant_id, username, email, created_at) VALUES (1, 'new', 'new@example.com', '2025-07-01 00:00+00');
INSERT INTO users (tenant_id, username) VALUES (2, 'a'), (3, 'b'), (4, 'c') RETURNING user_id, tenant_id, username;
INSERT INTO user_events (tenant_id, user_id, event_type) VALUES (1, 1, 'login') RETURNING *;
-- @error 23505
INSERT INTO users (tenant_id, user_id) VALUES (7, 3);
-- @error 23502
INSERT INTO users (tenant_id, user_id, username) VALUES (NULL, 5, 'nobody');
INSERT INTO users (tenant_id, user_id, username) VALUES (7, 3, 'again') ON CONFLICT DO NOTHING;
INSERT INTO users AS u (tenant_id, user_id, username) VALUES (7, 3, 'again'), (7, 100000, 'fresh')
ON CONFLICT (tenant_id, user_id) DO UPDATE SET username = excluded.username || '/' || u.username RETURNING *;
UPDATE users SET email = 'x@example.com' WHERE tenant_id = 7 AND user_id = 6;
UPDATE users SET email = lower(username) || '@t' || tenant_id WHERE tenant_id = 5 RETURNING user_id, email;
UPDATE users SET created_at = created_at + interval '1 day' WHERE user_id % 10 = 0;
UPDATE user_events e SET event_data = e.event_data || jsonb_build_object('user', u.username)
FROM users u WHERE u.tenant_id = e.tenant_id AND u.user_id = e.user_id AND e.tenant_id IN (1, 2, 3);
DELETE FROM user_events WHERE tenant_id = 4 AND event_type = 'logout' RETURNING event_id;
DELETE FROM user_events WHERE event_type = 'click' AND event_id % 5 = 0;
DELETE FROM user_events e USING users u WHERE e.tenant_id = u.tenant_id AND e.user_id = u.user_id AND u.email IS NULL;
INSERT INTO tenants (tenant_name, plan) VALUES ('late', 'pro') RETURNING tenant_id;
UPDATE tenants SET plan = 'free' WHERE plan IS NULL RETURNING tenant_id, plan;
DELETE FROM tenants WHERE tenant_name = 'late';
BEGIN;
INSERT INTO users (tenant_id, username) VALUES (9, 'in transaction');
SELECT count(*) FROM users WHERE tenant_id = 9;
UPDATE users SET username = 'renamed' WHERE tenant_id = 9 AND username = 'in transaction';
SELECT count(*) FROM users WHERE username = 'renamed';
ROLLBACK;
SELECT count(*) FROM users WHERE username = 'renamed';
BEGIN;
UPDATE users SET email = NULL WHERE tenant_id = 1;
UPDATE users SET email = NULL WHERE tenant_id = 2;
UPDATE tenants SET plan = 'pro' WHERE tenant_id IN (1, 2);
COMMIT;
INSERT INTO user_events (tenant_id, user_id, event_type, event_data)
SELECT tenant_id, user_id, 'import', '{}' FROM users WHERE user_id <= 20 ORDER BY user_id;
INSERT INTO users (tenant_id, username) SELECT tenant_id + 1, username || ' copy' FROM users WHERE tenant_id = 3 ORDER BY user_id RETURNING tenant_id, username;
