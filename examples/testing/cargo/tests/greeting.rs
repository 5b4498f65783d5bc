//! layerfs run --over tests/data -- cargo test: without layerfs it would pass only once.
use std::path::Path;

#[test]
fn it_is_replaced() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/greeting.txt");
    assert_eq!(greeting::replace(&file, "Ahoi\n").unwrap(), "Moin\n");
}
