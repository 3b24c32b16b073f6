//! `notification`: where notices go. Also what `monitor` has in common with it: a `type`, and a
//! `config` whose keys depend on it.

use std::borrow::Cow;

use backupctl_domain::Secret;
use backupctl_domain::project::{Channel, EmailChannel, SmtpSecurity};
use figment::value::Dict;

use crate::environment::Source;
use crate::keys::{KEYS, Scope, key};
use crate::layers::{
    Arena, FileLayer, Leaf, Origin, ShapeIssue, base_of, find, from_variables, insert, merge,
};
use crate::reader::{Part, Reader};
use crate::yaml::{Node, Yaml};

/// The channels of a project: its own, else the environment's, else the file's. Of the file as a whole:
/// the last two. What is wrong with those is no project's, so that it is told once for all.
pub(crate) fn read(r: &mut Reader<'_, '_>) -> Vec<Channel> {
    let (issues, warnings) = (r.issues.len(), r.warnings.len());
    let own = r.leaf("notification").is_some_and(|leaf| leaf.origin == Origin::Own);
    let mut elements = elements(r, "notification");
    let types = r.ctx.variables.get("NOTIFICATION_TYPE");
    if let (Some((types, source)), false) = (types, own) {
        elements = from_types(types, &source, elements);
    }
    let several = elements.len() > 1;
    let mut channels = Vec::new();
    for (number, mut element) in elements.into_iter().enumerate() {
        let shown =
            if several { format!("notification[{number}]") } else { "notification".to_owned() };
        element.take_variables(r, own || several);
        let mut inner = element.reader(r, &["notification"], shown);
        channels.extend(read_channel(&mut inner));
        let (issues, warnings) = inner.into_findings();
        r.issues.extend(issues);
        r.warnings.extend(warnings);
    }
    if !own {
        let found = r.issues.iter_mut().skip(issues).chain(r.warnings.iter_mut().skip(warnings));
        found.for_each(|issue| issue.project = None);
    }
    channels
}

/// The channels that `NOTIFICATION_TYPE` names; one that the file has of that type lends its config.
fn from_types<'a>(types: &str, source: &Source, file: Vec<Element<'a>>) -> Vec<Element<'a>> {
    let mut file: Vec<Option<Element<'a>>> = file.into_iter().map(Some).collect();
    let types = types.split(',').map(str::trim).filter(|t| !t.is_empty());
    types
        .map(|kind| {
            let same = |e: &Element<'_>| e.type_text().is_some_and(|t| t == kind);
            let lent =
                file.iter_mut().find(|e| e.as_ref().is_some_and(same)).and_then(Option::take);
            let mut element = lent.unwrap_or_default();
            let origin = Origin::Variable("NOTIFICATION_TYPE".to_owned(), source.clone());
            let leaf = Leaf { node: Cow::Owned(Node::text(kind)), origin };
            let value = element.arena.add(leaf);
            insert(&mut element.dict, "notification.type", value);
            element
        })
        .collect()
}

/// One channel or monitor as its mapping gives it.
pub(super) struct Element<'a> {
    dict: Dict,
    arena: Arena<'a>,
    node: Cow<'a, Node>,
    shapes: Vec<ShapeIssue>,
}

impl std::default::Default for Element<'_> {
    fn default() -> Self {
        Self {
            dict: Dict::new(),
            arena: Arena::default(),
            node: Cow::Owned(Node::text("")),
            shapes: Vec::new(),
        }
    }
}

impl<'a> Element<'a> {
    fn type_text(&self) -> Option<&str> {
        match &self.node.get("type")?.value {
            Yaml::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Lets the environment fill what is missing (`below`), or win over what the file says. A
    /// channel with an address of its own is not touched: another server's password is not for it.
    fn take_variables(&mut self, r: &Reader<'_, '_>, below: bool) {
        const ADDRESSES: [&str; 3] = ["smtp_host", "webhook_url", "url"];
        let config = find(&self.dict, "notification.config").and_then(|c| c.as_dict());
        let addressed = config
            .is_some_and(|config| config.keys().any(|name| ADDRESSES.contains(&base_of(name))));
        if below && addressed {
            return;
        }
        let mut layer = Dict::new();
        for key in KEYS.iter().filter(|k| k.path.starts_with("notification.config.")) {
            for (path, leaf) in from_variables(key, r.ctx.variables) {
                insert(&mut layer, &path, self.arena.add(leaf));
            }
        }
        let dict = std::mem::take(&mut self.dict);
        self.dict = if below { merge(layer, dict) } else { merge(dict, layer) };
    }

    /// A reader of it, which shows its keys below `shown`.
    pub(super) fn reader<'s>(
        &'s self,
        outer: &Reader<'s, 'a>,
        open: &'static [&'static str],
        shown: String,
    ) -> Reader<'s, 'a> {
        let mut r =
            Reader::new(outer.ctx, &self.arena, &self.dict, outer.project.clone(), &self.node);
        r.part = Some(Part { shown, open, inherits: false });
        r.take_shapes(self.shapes.iter().cloned());
        r
    }
}

/// The mappings of a section that is one of them or, for `notification`, a list.
pub(super) fn elements<'a>(r: &mut Reader<'_, 'a>, section: &'static str) -> Vec<Element<'a>> {
    let Some(leaf) = r.leaf(section) else { return Vec::new() };
    let several = section == "notification";
    match &leaf.node {
        Cow::Borrowed(node) => match &node.value {
            Yaml::List(items) if several => {
                items.iter().filter_map(|item| element(r, section, item, leaf)).collect()
            }
            _ => element(r, section, node, leaf).into_iter().collect(),
        },
        Cow::Owned(_) => Vec::new(),
    }
}

fn element<'a>(
    r: &mut Reader<'_, 'a>,
    section: &'static str,
    node: &'a Node,
    leaf: &Leaf<'a>,
) -> Option<Element<'a>> {
    match &node.value {
        Yaml::Map(_) => {}
        Yaml::Null => return None,
        Yaml::Text(text) if text == "none" => return None,
        _ => {
            let at = Leaf { node: Cow::Borrowed(node), origin: leaf.origin.clone() };
            let message = format!("expected `type` and `config`, found {}", node.kind());
            r.wrong(section, &at, message);
            return None;
        }
    }
    let mut element = Element { node: Cow::Borrowed(node), ..Element::default() };
    let mut layer = FileLayer {
        scope: Scope::Project,
        origin: leaf.origin.clone(),
        shown: "",
        arena: &mut element.arena,
        issues: &mut element.shapes,
    };
    let inner = layer.section(section, node);
    element.dict.insert(section.to_owned(), inner.into());
    Some(element)
}

/// The element's type; `None`, with an issue, if it has none or an unknown one.
pub(super) fn kind(r: &mut Reader<'_, '_>, section: &str) -> Option<String> {
    let path = format!("{section}.type");
    let kind = r.text(&path);
    if kind.is_none() && !r.misread(&path) {
        r.missing(&path, format!("`{path}` is missing"));
    }
    kind
}

/// Warns of keys that belong to another type. They may be left over, so they are no errors.
pub(super) fn warn_of_others(r: &mut Reader<'_, '_>, section: &str, kind: &str) {
    let Some(config) = find(r.dict, section).and_then(|c| c.as_dict()) else { return };
    for name in config.keys() {
        let path = format!("{section}.{name}");
        let of_file =
            r.leaf(&path).is_some_and(|leaf| !matches!(leaf.origin, Origin::Variable(..)));
        let meaning = key(&format!("{section}.{}", base_of(name))).map_or("", |k| k.meaning);
        // The table says of each key whose it is: `email: the SMTP server`.
        if of_file
            && let Some((owner, _)) = meaning.split_once(": ")
            && owner != kind
        {
            r.warn(&path, format!("`{name}` is a key of type `{owner}`, and this is `{kind}`"));
        }
    }
}

/// A secret that the type cannot do without.
pub(super) fn required_secret(r: &mut Reader<'_, '_>, path: &str, kind: &str) -> Option<Secret> {
    let secret = r.secret(path);
    if secret.is_none() && !r.misread(path) {
        let name = path.rsplit('.').next().unwrap_or(path);
        let env = key(path).and_then(|k| k.env.first());
        let env = env.map_or(String::new(), |name| format!(" (or {name})"));
        r.missing(path, format!("`{name}`{env} is missing, which `{kind}` needs"));
    }
    secret
}

/// Checks that a URL whose value is known is one. Its text may hold a token and is not shown.
pub(super) fn check_url(r: &mut Reader<'_, '_>, path: &str, url: &Secret) {
    if let (Ok(text), Some(leaf)) = (url.expose(), r.leaf(path))
        && !["https://", "http://"].iter().any(|start| text.starts_with(start))
    {
        r.wrong(path, leaf, "expected a URL that begins with `https://` or `http://`");
    }
}

fn read_channel(r: &mut Reader<'_, '_>) -> Option<Channel> {
    const URL: &str = "notification.config.url";
    const WEBHOOK_URL: &str = "notification.config.webhook_url";
    let kind = kind(r, "notification")?;
    if kind != "none" {
        warn_of_others(r, "notification.config", &kind);
    }
    match kind.as_str() {
        "slack" => {
            let webhook_url = required_secret(r, WEBHOOK_URL, &kind)?;
            check_url(r, WEBHOOK_URL, &webhook_url);
            Some(Channel::Slack { webhook_url })
        }
        "webhook" => {
            let secret = r.secret("notification.config.secret");
            let url = required_secret(r, URL, &kind)?;
            check_url(r, URL, &url);
            Some(Channel::Webhook { url, secret })
        }
        "email" => read_email(r).map(Channel::Email),
        _ => None,
    }
}

fn read_email(r: &mut Reader<'_, '_>) -> Option<EmailChannel> {
    let at = |name: &str| format!("notification.config.{name}");
    let host = r.text(&at("smtp_host"));
    let port = r.port(&at("smtp_port"));
    let security = smtp_security(r, port);
    let to: Vec<String> = r
        .list(&at("to"))
        .iter()
        .flat_map(|text| text.split(','))
        .map(|address| address.trim().to_owned())
        .filter(|address| !address.is_empty())
        .collect();
    let user = r.text(&at("user"));
    let from = r.text(&at("from")).or_else(|| user.clone().filter(|user| user.contains('@')));
    let password = r.secret(&at("password"));
    for (name, absent) in
        [("smtp_host", host.is_none()), ("to", to.is_empty()), ("from", from.is_none())]
    {
        if absent && !r.misread(&at(name)) {
            let env = name.trim_start_matches("smtp_").to_uppercase();
            r.missing(
                &at(name),
                format!("`{name}` (or SMTP_{env}) is missing, which `email` needs"),
            );
        }
    }
    let user = user.or_else(|| password.as_ref().and(from.clone()));
    let usual = match security {
        SmtpSecurity::Tls => 465,
        SmtpSecurity::StartTls => 587,
        SmtpSecurity::None => 25,
    };
    Some(EmailChannel {
        host: host?,
        port: port.unwrap_or(usual),
        security,
        from: from?,
        to,
        user,
        password,
    })
}

fn smtp_security(r: &mut Reader<'_, '_>, port: Option<u16>) -> SmtpSecurity {
    const SECURE: &str = "notification.config.smtp_secure";
    const SECURITY: &str = "notification.config.smtp_security";
    let secure = r.flag(SECURE);
    let security = r.text(SECURITY);
    if let (true, Some(leaf), Some(_)) = (r.given(SECURE), r.leaf(SECURITY), &security)
        && r.leaf(SECURE).is_some_and(|s| s.origin == leaf.origin)
    {
        r.wrong(SECURITY, leaf, "`smtp_secure` and `smtp_security` are both given; keep one");
    }
    let usual = match (secure, port) {
        // Nobody speaks TLS from the first byte on the submission port; STARTTLS is meant.
        (_, Some(587)) | (Some(false) | None, None) => "starttls",
        (Some(true), _) | (None, Some(465)) => "tls",
        _ => "none",
    };
    match security.as_deref().unwrap_or(usual) {
        "tls" => SmtpSecurity::Tls,
        "starttls" => SmtpSecurity::StartTls,
        _ => SmtpSecurity::None,
    }
}
