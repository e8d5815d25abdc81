DO $$
DECLARE
    t TEXT[];
    r RECORD;
    found BIGINT;
BEGIN
    FOREACH t SLICE 1 IN ARRAY ARRAY[['dst', 'k'], ['nul', 'k'], ['ser', 'k'], ['other', 'id'], ['dm', 'k'], ['child', 'k'], ['tag', 'k'], ['names', 'name'], ['short', 'name']] LOOP
        FOR r IN EXECUTE format('SELECT %1$I::text AS key, count(*) AS many FROM %2$I WHERE %1$I::text LIKE ''%%7%%'' GROUP BY 1', t[2], t[1]) LOOP
            EXECUTE format('SELECT count(*) FROM %I WHERE %I = %L', t[1], t[2], r.key) INTO found;
            IF found <> r.many THEN
                RAISE EXCEPTION 'rows of % with % = % are in another shard', t[1], t[2], r.key;
            END IF;
        END LOOP;
    END LOOP;
    FOR r IN SELECT k AS key, count(*) AS many FROM bulk WHERE k % 40 = 0 GROUP BY k LOOP
        SELECT count(*) INTO found FROM bulk WHERE k = r.key;
        IF found <> r.many THEN
            RAISE EXCEPTION 'rows of bulk with k = % are in another shard', r.key;
        END IF;
    END LOOP;
END $$;
