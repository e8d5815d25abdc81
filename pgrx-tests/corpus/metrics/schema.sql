-- Measurements of devices: narrow rows, timestamps, double precision, few devices with many rows.
CREATE TABLE metrics (
    metric_id BIGSERIAL,
    device_id INT NOT NULL,
    metric_name VARCHAR(50),
    metric_value DOUBLE PRECISION,
    tags JSONB,
    timestamp TIMESTAMPTZ DEFAULT timestamptz '2025-01-15 10:00+00',
    PRIMARY KEY (device_id, timestamp, metric_id)
);
INSERT INTO metrics (device_id, metric_name, metric_value, tags, timestamp)
SELECT i % 9, (ARRAY['cpu', 'mem', 'disk'])[1 + i % 3], CASE WHEN i % 11 <> 0 THEN (i * 37 % 1000) / 8.0 END,
       jsonb_build_object('dc', 'dc' || i % 2, 'rack', i % 4), timestamptz '2025-01-15 00:00+00' + i * interval '11 minutes'
FROM generate_series(1, 400) i;
-- @distribute metrics device_id
CREATE TABLE devices (device_id INT PRIMARY KEY, name TEXT, lat REAL, lon REAL, installed DATE, labels TEXT[]);
-- @distribute devices device_id colocate metrics
INSERT INTO devices SELECT i, 'device-' || i, i * 1.5, -i * 0.25, date '2024-01-01' + i * 20, ARRAY['l' || i % 3, 'all'] FROM generate_series(0, 14) i;
CREATE TABLE metrics_hourly (
    device_id INT, metric_name TEXT, hour TIMESTAMPTZ, avg_value DOUBLE PRECISION, max_value DOUBLE PRECISION,
    min_value DOUBLE PRECISION, sample_count BIGINT, PRIMARY KEY (device_id, metric_name, hour));
-- @distribute metrics_hourly device_id colocate metrics
CREATE TABLE thresholds (metric_name TEXT PRIMARY KEY, warn DOUBLE PRECISION, crit DOUBLE PRECISION);
INSERT INTO thresholds VALUES ('cpu', 60, 110), ('mem', 80, 120), ('net', 1, 2);
-- @reference thresholds
