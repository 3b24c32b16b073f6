//! Scripts with everything in them that could be taken for something else.

use super::*;

/// Everything that could be taken for something else.
const SCRIPT: &str = r#"--
-- PostgreSQL database dump
--

\restrict abc

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET standard_conforming_strings = on;

--
-- Name: shop; Type: DATABASE; Schema: -; Owner: bob
--

CREATE DATABASE shop WITH TEMPLATE = template0;

\connect shop

--
-- Name: f(); Type: FUNCTION; Schema: public; Owner: bob
--

CREATE FUNCTION public.f() RETURNS integer
    LANGUAGE sql
    AS $_$
-- Name: fake1; Type: TABLE; Schema: public; Owner: x
select '$1$', $$;
-- Name: fake2; Type: TABLE; Schema: public; Owner: x
$$;
$_$;

COMMENT ON FUNCTION public.f() IS E'it\'s;
-- Name: fake3; Type: TABLE; Schema: public; Owner: x
';
COMMENT ON FUNCTION public.f() IS 'it''s \';
COMMENT ON TABLE public."a;
-- Name: fake4; Type: TABLE; Schema: public; Owner: x
" IS '';
CREATE VIEW v AS SELECT 1 /* ; /* nested */
-- Name: fake5; Type: TABLE; Schema: public; Owner: x
*/, x$1 -- it's;
;
CREATE FUNCTION g() BEGIN ATOMIC
 SELECT 1;
 SELECT 2;
END;

--
-- Name: orders; Type: TABLE; Schema: public; Owner: bob; Tablespace: fast
--

--
-- Data for Name: a; Type: b; Schema: c; Type: TABLE DATA; Schema: My Schema; Owner: bob
--

COPY public.orders (id, t) FROM stdin;
1	'
-- Name: fake6; Type: TABLE; Schema: public; Owner: x
-- PostgreSQL database dump complete
\\.
\.x

\.

--
-- PostgreSQL database dump complete
--

\unrestrict abc

"#;

fn read(text: &[u8], size: usize) -> (Found, bool) {
    let mut reader = ScriptReader::with_entries();
    text.chunks(size).for_each(|chunk| reader.feed(chunk));
    reader.finish()
}

#[test]
fn only_what_psql_takes_for_a_comment_counts() {
    for size in [1, 7, 64, SCRIPT.len()] {
        let (found, at_rest) = read(SCRIPT.as_bytes(), size);
        assert_eq!((found.lacks(), at_rest), (None, true), "by {size}");
        let names: Vec<_> = found.contents.iter().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "data of table My Schema.a; Type: b; Schema: c",
                "function public.f()",
                "table public.orders"
            ]
        );
        assert_eq!((found.created, found.connected), (vec!["shop".into()], vec!["shop".into()]));
        assert_eq!(found.version.as_deref(), Some("15.18"));
        assert_eq!(found.entries.len(), 4);
    }
}

#[test]
fn all_pieces_together_are_the_script() {
    let long = format!("{SCRIPT}INSERT INTO t VALUES ('{}');\n-- x", "a;\n".repeat(400_000));
    for size in [999, long.len()] {
        let mut splitter = Splitter::default();
        let mut all = Vec::new();
        for chunk in long.as_bytes().chunks(size) {
            splitter.feed(chunk, &mut |_, piece| all.extend_from_slice(piece));
        }
        splitter.flush(&mut |_, piece| all.extend_from_slice(piece));
        assert!(all == long.as_bytes(), "by {size}");
    }
}

#[test]
fn a_cut_script_is_never_whole() {
    let end = SCRIPT.rfind("complete").unwrap() + "complete".len();
    for cut in 0..end {
        let (found, _) = read(&SCRIPT.as_bytes()[..cut], 4096);
        assert!(found.lacks().is_some(), "cut at {cut}");
    }
}

#[test]
fn the_last_part_of_several_must_be_there() {
    let cluster = "-- PostgreSQL database cluster dump\nCREATE ROLE \"odd \"\"q\";\nCREATE TABLESPACE fast OWNER bob LOCATION '/x';\n";
    let ended = "-- PostgreSQL database cluster dump complete\n";
    let database = "-- PostgreSQL database dump\n-- PostgreSQL database dump complete\n";
    let lacks = |text: &str| read(text.as_bytes(), 100).0.lacks();
    assert_eq!(lacks(&format!("{cluster}{ended}")), None);
    assert_eq!(lacks(&format!("{cluster}{database}{ended}")), None, "as pg_dumpall writes it");
    assert!(lacks(&format!("{cluster}{ended}{database}")).is_some());
    assert_eq!(lacks(&format!("{BEGIN}\n{cluster}{ended}{database}{END}\n")), None, "as we do");
    assert!(lacks(&format!("{BEGIN}\n{cluster}{ended}{database}")).is_some());
    assert!(lacks("select 1;\n").is_some());
    let globals = read(format!("{cluster}{ended}").as_bytes(), 9).0.globals;
    assert_eq!(globals.into_iter().collect::<Vec<_>>(), ["role odd \"q", "tablespace fast"]);
}

#[test]
fn databases_are_known_whatever_their_names() {
    for (line, name) in [
        (r"\connect shop", "shop"),
        (r#"\connect -reuse-previous=on "dbname='a b\'c\\'""#, r"a b'c\"),
        (r#"\connect -reuse-previous=on "dbname='say ""x""'""#, r#"say "x""#),
        (r#"\connect "Shop""#, "Shop"),
    ] {
        assert_eq!(connect_name(line).as_deref(), Some(name), "{line}");
    }
    assert_eq!(connect_name(r"\encoding UTF8"), None);
}
