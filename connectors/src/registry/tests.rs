//! A registry that answers as a test wants: what is asked for, how often, and what is made of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use super::*;

/// Answers requests, one connection each, with these statuses and bodies, in order; gives what was asked for: the first
/// line, the header `Authorization` and the body.
fn server(answers: Vec<(u16, &'static str)>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/base/", listener.local_addr().unwrap());
    let serve = move || {
        let mut asked = Vec::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut request, mut length) = (String::new(), 0);
            reader.read_line(&mut request).unwrap();
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).unwrap();
                let lower = header.to_ascii_lowercase();
                if lower.starts_with("authorization") {
                    request.push_str(&header);
                }
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if header.trim().is_empty() {
                    break;
                }
            }
            let mut sent = vec![0; length];
            reader.read_exact(&mut sent).unwrap();
            request.push_str(std::str::from_utf8(&sent).unwrap());
            asked.push(request);
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all((head + body).as_bytes()).unwrap();
        }
        asked
    };
    (url, std::thread::spawn(serve))
}

fn impatient(url: &str) -> SchemaRegistry {
    SchemaRegistry::at(url).patience(Duration::ZERO)
}

#[test]
fn a_schema_is_asked_for_once_also_when_the_registry_is_busy_at_first() {
    let body = r#"{"schema": "\"long\"", "schemaType": "AVRO"}"#;
    let (url, server) = server(vec![(503, "busy"), (429, ""), (200, body)]);
    let registry = SchemaRegistry::at(url);
    for _ in 0..3 {
        let found = registry.clone().schema(7).unwrap().unwrap();
        assert_eq!((found.kind.name(), found.text.as_str()), ("AVRO", "\"long\""));
    }
    let asked = server.join().unwrap();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|asked| asked.starts_with("GET /base/schemas/ids/7 HTTP")), "{asked:?}");
}

#[test]
fn an_unknown_id_is_no_error_and_not_asked_for_at_once_again() {
    let (url, server) = server(vec![(404, r#"{"error_code": 40403, "message": "no such schema"}"#)]);
    let registry = impatient(&url);
    assert!(registry.schema(7).unwrap().is_none() && registry.schema(7).unwrap().is_none());
    assert_eq!(server.join().unwrap().len(), 1);
}

#[test]
fn what_is_no_registry_or_does_not_let_us_in_is_an_error_and_rejects_nothing() {
    for (answer, expected) in [
        ((404, "<html>not here</html>"), "is its address complete?"),
        ((401, r#"{"message": "who are you"}"#), "does not let us in (401: who are you)"),
        ((200, "<html>welcome</html>"), "is no schema registry: no JSON came back"),
        ((200, "{}"), "is no schema registry: no schema came back"),
        ((500, r#"{"message": "broken"}"#), "cannot be asked (for 0 s): it answers 500: broken"),
    ] {
        let (url, server) = server(vec![answer]);
        let said = impatient(&url).schema(1).map(drop).unwrap_err().to_string();
        assert!(said.contains(expected) && said.contains(url.trim_end_matches('/')), "{said}");
        server.join().unwrap();
    }
}

#[test]
fn schemas_are_registered_and_a_refusal_is_explained() {
    let conflict = r#"{"error_code": 409, "message": "field x has no default"}"#;
    let (url, server) =
        server(vec![(200, r#"{"id": 12}"#), (409, conflict), (422, r#"{"message": "nonsense"}"#)]);
    let registry = impatient(&url);
    let kind = SchemaKind::of("AVRO");
    let register = || registry.register("a/b-value", &kind, "\"long\"");
    assert_eq!(register().unwrap(), 12);
    let said = register().unwrap_err().to_string();
    assert!(said.contains("subject `a/b-value`") && said.contains("field x has no default"), "{said}");
    assert!(register().unwrap_err().to_string().contains("cannot use the schema: nonsense"));
    let asked = server.join().unwrap().remove(0);
    assert!(asked.starts_with("POST /base/subjects/a%2Fb-value/versions HTTP"), "{asked}");
    assert!(asked.ends_with(r#"{"schema":"\"long\"","schemaType":"AVRO"}"#), "{asked}");
}

#[test]
fn what_a_schema_refers_to_comes_before_it_and_once() {
    let (url, server) = server(vec![
        (
            200,
            r#"{"schema": "top", "references": [{"name": "a", "subject": "sa", "version": 1},
                {"name": "b", "subject": "sb", "version": 2}]}"#,
        ),
        (200, r#"{"schema": "text a", "references": [{"name": "b", "subject": "sb", "version": 2}]}"#),
        (200, r#"{"schema": "text b", "references": [{"name": "a", "subject": "sa", "version": 1}]}"#),
    ]);
    let found = impatient(&url).schema(1).unwrap().unwrap();
    let names: Vec<_> = found.references.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(names, [("b", "text b"), ("a", "text a")]);
    let asked = server.join().unwrap();
    assert!(asked[2].starts_with("GET /base/subjects/sb/versions/2 HTTP"), "{asked:?}");
}

#[test]
fn a_password_is_sent_and_shown_nowhere() {
    let (url, server) = server(vec![(401, "")]);
    let registry = impatient(&url).password_from_env("me", "PATH");
    let said = registry.schema(1).map(drop).unwrap_err().to_string();
    let path = std::env::var("PATH").unwrap();
    assert!(!said.contains(&path) && !format!("{registry:?}").contains(&path));
    assert!(server.join().unwrap()[0].to_ascii_lowercase().contains("authorization: basic bwu6"), "`me:`");
    let said =
        impatient("http://h").token_from_env("HEADWATER_NO_SUCH_VARIABLE").check().unwrap_err().to_string();
    assert!(said.contains("$HEADWATER_NO_SUCH_VARIABLE"), "{said}");
}
