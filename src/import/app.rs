//! One entry of `deploy`: an app.

use super::{
    Provider,
    aws::{Seen, Thing},
    container::{self, Context},
    cursor::Reader,
    ground::Ground,
    json::{Data, Entry},
    note::Kind,
    secrets,
    volumes::{self, DataVolumes},
    yaml::{Part, Yaml},
};
use crate::spec::interpolate::slug;

/// What OpsWorks tells instead of the value of a protected variable ("Environment Variables", OpsWorks User Guide).
const FILTERED: &str = "*****FILTERED*****";

/// An app's manifest.
pub(super) struct App {
    pub(super) name: String,
    pub(super) spec: Vec<Part>,
    pub(super) remarks: Vec<String>,
    /// The names of its containers.
    pub(super) containers: Vec<String>,
    /// Something stands there that is made up.
    pub(super) pending: bool,
    pub(super) key: Entry,
}

/// What all apps have in common.
pub(super) struct Common {
    pub(super) provider: Provider,
    pub(super) registries: Vec<Part>,
    pub(super) logging: Option<Part>,
}

/// The data volumes of every app, in their order: several may take one.
pub(super) fn volumes(reader: Reader<'_>, entries: &[Entry]) -> Vec<DataVolumes> {
    let shared = volumes::shared(entries);
    let read = entries.iter().zip(&shared).map(|(entry, shared)| {
        let Data::Map(keys) = &entry.value.data else { return DataVolumes::default() };
        let data = keys.iter().find(|key| key.key == "data_volumes" && !key.value.is_null());
        data.map(|data| volumes::read(reader, &data.value, &entry.key, shared)).unwrap_or_default()
    });
    let mut all: Vec<DataVolumes> = read.collect();
    for owner in (0..all.len()).filter(|owner| !shared[*owner].is_empty()) {
        let own = std::mem::take(&mut all[owner]);
        for other in &mut all {
            other.take(&own, &shared[owner]);
        }
        all[owner] = own;
    }
    all
}

/// Reads one; nothing when it has no containers, and is none of Docker's.
pub(super) fn read(
    reader: Reader<'_>,
    entry: &Entry,
    volumes: DataVolumes,
    ground: &Ground<'_>,
    common: &Common,
) -> Option<App> {
    let map = reader.map(&entry.value, "an app")?;
    let known = ground.seen.and_then(|seen| found(seen, &entry.key));
    let name = known.and_then(|app| app.text("Name")).unwrap_or_else(|| entry.key.clone());
    let at = format!("deploy.{}", entry.key);
    let (data, list) = (map.get("data_volumes"), map.get("containers"));
    if data.is_none() && list.is_none() {
        let near = map
            .near("containers")
            .map_or(String::new(), |near| format!(" (is `{}` meant to be `containers`?)", near.key));
        let message = format!("`{at}` has neither `containers` nor `data_volumes`, and becomes no app{near}");
        reader.note(Kind::LeftOut, &entry.key_span, message);
        return None;
    }
    let mut remarks = reader.finish(&map, &format!("{at}."));
    remarks.extend(volumes.remarks.iter().cloned());
    let context = Context { reader, stack: &ground.name, app: &name, at: &at, volumes: &volumes };
    let containers: Vec<container::Container> = list
        .map(|list| volumes::named(reader, &list.value, "containers"))
        .unwrap_or_default()
        .into_iter()
        .filter_map(|entry| container::read(context, entry))
        .collect();
    let mut app = App {
        name: name.clone(),
        spec: vec![
            Part::text("stack", ground.name.as_str()).from(reader.place(&entry.key_span)),
            Part::text("layer", ground.layer.as_str()).from(reader.place(&entry.key_span)),
        ],
        remarks: Vec::new(),
        containers: containers.iter().map(|container| container.name.clone()).collect(),
        pending: false,
        key: entry.clone(),
    };
    app.spec.push(environment(reader, entry, ground, known, common.provider));
    let wanted = containers.iter().find_map(|container| container.database.clone());
    app.data_source(reader, ground, known, common.provider, wanted);
    app.spec
        .extend((!common.registries.is_empty()).then(|| Part::new("registries", Yaml::Map(common.registries.clone()))));
    app.spec.extend(common.logging.clone());
    app.volumes(reader, data, volumes);
    if !containers.is_empty() {
        let items = containers.into_iter().map(|container| container.part).collect();
        app.spec.push(Part::new("containers", Yaml::Items(items)).from(reader.place(&entry.key_span)));
    }
    app.remarks.append(&mut remarks);
    Some(app)
}

/// The app of OpsWorks: the JSON goes by its short name, and people by its name.
fn found<'a>(seen: &Seen<'a>, key: &str) -> Option<Thing<'a>> {
    let is = |app: &&Thing<'a>, name: &str| app.text(name).is_some_and(|name| name == key);
    let apps = &seen.apps;
    let by_slug = || apps.iter().find(|app| app.text("Name").is_some_and(|name| slug(&name) == slug(key)));
    let found = apps.iter().find(|app| is(app, "Shortname")).or_else(|| apps.iter().find(|app| is(app, "Name")));
    found.or_else(by_slug).copied()
}

/// What makes Evenkeel take the app up, and on OpsWorks whatever else the app's environment says.
fn environment(
    reader: Reader<'_>,
    entry: &Entry,
    ground: &Ground<'_>,
    known: Option<Thing<'_>>,
    provider: Provider,
) -> Part {
    let docker = || Part::text("APP_TYPE", "docker");
    let Some((seen, app)) = ground.seen.zip(known) else {
        let remark = ground.seen.map(|seen| {
            let message = format!("OpsWorks has no app `{}`: it is made", entry.key);
            seen.reader.note(Kind::Decide, &seen.stack.node.span, message)
        });
        return Part::new("environment", Yaml::Map(vec![docker()])).from(reader.place(&entry.key_span)).remark(remark);
    };
    let mut parts = Vec::new();
    let mut remarks = Vec::new();
    for variable in app.list("Environment") {
        let Some(key) = variable.text("Key") else { continue };
        let value = variable.text("Value").unwrap_or_default();
        if key != "APP_TYPE" && provider == Provider::Ec2 {
            continue;
        }
        if variable.is("Secure") || value == FILTERED {
            let message = format!(
                "OpsWorks does not tell the protected variable `{key}` of the app: it is left out, and reached no container then"
            );
            remarks.push(seen.reader.note(Kind::Decide, &variable.node.span, message));
            continue;
        }
        parts.push(Part::text(&key, value).from(seen.reader.place(&variable.node.span)));
    }
    let taken_up = app.list("Environment").iter().any(|it| {
        it.text("Key").is_some_and(|key| key == "APP_TYPE") && it.text("Value").is_some_and(|value| value == "docker")
    });
    if !taken_up {
        let message = "the app has no `APP_TYPE=docker` in OpsWorks, was skipped on account of that, and is left alone until \
                       `APP_TYPE: docker` stands here";
        remarks.push(seen.reader.note(Kind::Decide, &app.node.span, message));
    }
    Part::new("environment", Yaml::Map(parts)).from(seen.reader.place(&app.node.span)).remark(remarks)
}

impl App {
    /// `wanted`: a container asks for the variables of the database.
    fn data_source(
        &mut self,
        reader: Reader<'_>,
        ground: &Ground<'_>,
        known: Option<Thing<'_>>,
        provider: Provider,
        wanted: Option<std::ops::Range<usize>>,
    ) {
        let sources = known.map(|app| app.list("DataSources")).unwrap_or_default();
        let of = |kind: &str| sources.iter().copied().find(|it| it.text("Type").is_some_and(|own| own == kind));
        let password = secrets::parameter(&[&ground.name, &self.name, "database-password"]);
        let password = || Part::new("password", Yaml::Map(vec![Part::text("ssm", password.as_str())]));
        let name = |source: Option<Thing<'_>>| {
            Part::text("database", source.and_then(|it| it.text("DatabaseName")).unwrap_or_else(|| slug(&self.name)))
        };
        if let (Some(source), Some(seen)) = (of("RdsDbInstance"), ground.seen) {
            let arn = source.text("Arn").unwrap_or_default();
            let mut parts = vec![Part::text("rds", arn.as_str()), name(Some(source))];
            let remark = wanted.map(|_| {
                let instance =
                    seen.databases.iter().find(|it| it.text("RdsDbInstanceArn").is_some_and(|own| own == arn));
                parts.extend(instance.and_then(|it| it.text("DbUser")).map(|user| Part::text("username", user)));
                parts.push(password());
                let message =
                    "OpsWorks does not tell the password of the database: put it into Parameter Store under this name";
                seen.reader.note(Kind::Decide, &source.node.span, message)
            });
            let part = Part::new("dataSource", Yaml::Map(parts)).from(seen.reader.place(&source.node.span));
            return self.spec.push(part.remark(remark));
        }
        let own = of("OpsworksMysqlInstance").or_else(|| of("AutoSelectOpsworksMysqlInstance"));
        if let Some(span) = wanted {
            let why = match own {
                Some(_) => {
                    "the MySQL server of OpsWorks' own tells nobody its address: name an RDS instance, or give the containers \
                     `DB_…` in `env`"
                }
                None => {
                    "containers ask for the app's database, and which one is not known: name the RDS instance, the database, and \
                     where its password is kept"
                }
            };
            let meanwhile = match ground.verbatim {
                Some(_) => "they are not started before that",
                None => "the stack is suspended until then",
            };
            let message = format!("{why}; {meanwhile}");
            let remark = reader.note(Kind::Decide, &span, message);
            let parts = vec![Part::text("rds", "FILL-IN"), name(own), password()];
            self.spec.push(Part::new("dataSource", Yaml::Map(parts)).from(reader.place(&span)).remark([remark]));
            self.pending = true;
        } else if let (Some(source), Some(seen), Provider::Opsworks) = (own, ground.seen, provider) {
            let parts = vec![Part::word("opsworks", true), name(Some(source))];
            self.spec.push(Part::new("dataSource", Yaml::Map(parts)).from(seen.reader.place(&source.node.span)));
        }
    }

    fn volumes(&mut self, reader: Reader<'_>, data: Option<&Entry>, volumes: DataVolumes) {
        let Some(entry) = data.filter(|_| !volumes.parts.is_empty()) else { return };
        let part = Part::new("dataVolumes", Yaml::Map(volumes.parts)).from(reader.place(&entry.key_span));
        self.spec.push(part);
    }
}
