-- Aggregates that combine the partial results of shards, and any_value.

CREATE FUNCTION pg_catalog.any_value_agg(anyelement, anyelement) RETURNS anyelement
    LANGUAGE sql STABLE
    AS $$ SELECT coalesce($1, $2) $$;
COMMENT ON FUNCTION pg_catalog.any_value_agg(anyelement, anyelement) IS
    'transition function of any_value';

CREATE AGGREGATE pg_catalog.any_value(anyelement) (
    sfunc = pg_catalog.any_value_agg,
    combinefunc = pg_catalog.any_value_agg,
    stype = anyelement
);
COMMENT ON AGGREGATE pg_catalog.any_value(anyelement) IS 'one of the values that are not null';

CREATE AGGREGATE pg_catalog.array_cat_agg(anycompatiblearray) (
    sfunc = pg_catalog.array_cat,
    stype = anycompatiblearray
);
COMMENT ON AGGREGATE pg_catalog.array_cat_agg(anycompatiblearray) IS
    'concatenation of arrays, of the results of array_agg on shards';

CREATE FUNCTION pg_catalog.citus_json_concatenate(state json, val json) RETURNS json
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    white CONSTANT text := E' \t\n\r';
    -- Members and elements are kept as they are written, so the texts are joined.
    a text;
    b text;
BEGIN
    IF state IS NULL OR val IS NULL THEN
        RETURN coalesce(state, val);
    END IF;
    IF json_typeof(state) <> json_typeof(val) OR json_typeof(val) NOT IN ('array', 'object') THEN
        RAISE EXCEPTION 'cannot concatenate json % and json %', json_typeof(state), json_typeof(val)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    a := btrim(state::text, white);
    b := btrim(val::text, white);
    IF btrim(substr(a, 2, length(a) - 2), white) = '' THEN
        RETURN val;
    ELSIF btrim(substr(b, 2, length(b) - 2), white) = '' THEN
        RETURN state;
    END IF;
    RETURN rtrim(left(a, -1), white) || ', ' || ltrim(substr(b, 2), white);
END $$;
COMMENT ON FUNCTION pg_catalog.citus_json_concatenate(json, json) IS
    'concatenation of two json arrays or two json objects';

CREATE FUNCTION pg_catalog.citus_json_concatenate_final(state json) RETURNS json
    LANGUAGE sql
    AS $$ SELECT state $$;
COMMENT ON FUNCTION pg_catalog.citus_json_concatenate_final(json) IS
    'final function of json_cat_agg';

CREATE AGGREGATE pg_catalog.json_cat_agg(json) (
    sfunc = pg_catalog.citus_json_concatenate,
    finalfunc = pg_catalog.citus_json_concatenate_final,
    stype = json
);
COMMENT ON AGGREGATE pg_catalog.json_cat_agg(json) IS
    'concatenation of json arrays or objects, of the results of json aggregates on shards';

CREATE FUNCTION pg_catalog.citus_jsonb_concatenate(state jsonb, val jsonb) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF state IS NULL OR val IS NULL THEN
        RETURN coalesce(state, val);
    END IF;
    IF jsonb_typeof(state) <> jsonb_typeof(val)
        OR jsonb_typeof(val) NOT IN ('array', 'object') THEN
        RAISE EXCEPTION 'cannot concatenate jsonb % and jsonb %',
            jsonb_typeof(state), jsonb_typeof(val)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN state || val;
END $$;
COMMENT ON FUNCTION pg_catalog.citus_jsonb_concatenate(jsonb, jsonb) IS
    'concatenation of two jsonb arrays or two jsonb objects';

CREATE FUNCTION pg_catalog.citus_jsonb_concatenate_final(state jsonb) RETURNS jsonb
    LANGUAGE sql
    AS $$ SELECT state $$;
COMMENT ON FUNCTION pg_catalog.citus_jsonb_concatenate_final(jsonb) IS
    'final function of jsonb_cat_agg';

CREATE AGGREGATE pg_catalog.jsonb_cat_agg(jsonb) (
    sfunc = pg_catalog.citus_jsonb_concatenate,
    finalfunc = pg_catalog.citus_jsonb_concatenate_final,
    stype = jsonb
);
COMMENT ON AGGREGATE pg_catalog.jsonb_cat_agg(jsonb) IS
    'concatenation of jsonb arrays or objects, of the results of jsonb aggregates on shards';
