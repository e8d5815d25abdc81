-- Plans of statements as they ran, for EXPLAIN ANALYZE of distributed queries. Everybody may call
-- these: they run nothing that the caller could not run himself.

CREATE FUNCTION pg_catalog.citus_explain_next(options jsonb)
RETURNS void LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'citus_explain_next';
COMMENT ON FUNCTION pg_catalog.citus_explain_next(jsonb)
IS 'keeps the plan of the next statement of this transaction as it ran';

CREATE FUNCTION pg_catalog.worker_save_query_explain_analyze(query text, options jsonb)
RETURNS SETOF record LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'citus_save_query_explain_analyze';
COMMENT ON FUNCTION pg_catalog.worker_save_query_explain_analyze(text, jsonb)
IS 'runs a query, gives its rows, and keeps its plan as it ran';

CREATE FUNCTION pg_catalog.worker_last_saved_explain_analyze()
RETURNS TABLE (
    explain_analyze_output text,
    execution_duration double precision,
    execution_ntuples double precision,
    execution_nloops double precision
) LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'citus_last_saved_explain_analyze';
COMMENT ON FUNCTION pg_catalog.worker_last_saved_explain_analyze()
IS 'the plan of this session that was kept last, its time in milliseconds, rows and loops';
