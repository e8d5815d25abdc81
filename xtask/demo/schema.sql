CREATE TABLE airlines (
    carrier text PRIMARY KEY,
    name    text NOT NULL
);

CREATE TABLE airports (
    faa   text PRIMARY KEY,
    name  text NOT NULL,
    lat   double precision,
    lon   double precision,
    alt   integer,
    tz    integer,
    dst   text,
    tzone text
);

CREATE TABLE planes (
    tailnum      text PRIMARY KEY,
    year         integer,
    type         text,
    manufacturer text,
    model        text,
    engines      integer,
    seats        integer,
    speed        integer,
    engine       text
);

CREATE TABLE flights (
    year           integer NOT NULL,
    month          integer NOT NULL,
    day            integer NOT NULL,
    dep_time       integer,
    sched_dep_time integer,
    dep_delay      integer,
    arr_time       integer,
    sched_arr_time integer,
    arr_delay      integer,
    carrier        text NOT NULL,
    flight         integer NOT NULL,
    tailnum        text NOT NULL,
    origin         text NOT NULL,
    dest           text NOT NULL,
    air_time       integer,
    distance       integer,
    hour           integer,
    minute         integer,
    time_hour      timestamptz NOT NULL
);
