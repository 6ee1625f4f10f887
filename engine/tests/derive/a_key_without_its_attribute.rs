use headwater::prelude::*;

#[derive(Record, Clone, PartialEq, Eq)]
struct Route {
    from: String,
    to: String,
}

fn by_route(routes: &Stream<Route>) {
    let _ = routes.key_by(|route| Route::from_view(route)).count();
}

fn main() {}
