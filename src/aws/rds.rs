//! Database instances: where they listen, and as what.

use aws_sdk_rds::types::DbInstance;

use super::{Aws, place::Place, service, trouble};
use crate::{
    spec::{Of, Stack},
    world::{Class, Trouble},
};

/// What RDS tells of a database instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Database {
    status: String,
    arn: Option<String>,
    engine: Option<String>,
    host: Option<String>,
    port: Option<i32>,
    username: Option<String>,
}

impl From<DbInstance> for Database {
    fn from(seen: DbInstance) -> Database {
        let (host, port) = seen.endpoint.map_or((None, None), |endpoint| (endpoint.address, endpoint.port));
        Database {
            status: seen.db_instance_status.unwrap_or_else(|| "in no state that is told".into()),
            arn: seen.db_instance_arn,
            engine: seen.engine,
            host: host.filter(|address| !address.is_empty()),
            port: port.filter(|port| *port > 0),
            username: seen.master_username,
        }
    }
}

impl Database {
    /// One thing of it, as a container is told.
    ///
    /// # Errors
    /// While it has none: an instance that is being made has no address yet ("Endpoint" of `DBInstance`, API reference).
    pub(crate) fn of(&self, rds: &str, of: Of) -> Result<String, Trouble> {
        let found = match of {
            Of::Arn => self.arn.clone(),
            Of::Host => self.host.clone(),
            Of::Port => self.port.map(|port| port.to_string()),
            Of::Username => self.username.clone(),
            Of::Adapter => {
                let engine = self.engine.as_deref().unwrap_or_default();
                let adapter = adapter(engine).ok_or_else(|| Trouble {
                    class: Class::Terminal,
                    message: format!(
                        "rds {rds} is a database of the engine `{engine}`, for which there is no adapter: declare `DB_…` in \
                         `env` instead of `database: true`"
                    ),
                })?;
                Some(adapter.to_owned())
            }
        };
        found.ok_or_else(|| Trouble {
            class: Class::Transient,
            message: format!("rds {rds} is {}, and is waited for until it is available", self.status),
        })
    }
}

/// As OpsWorks' cookbooks name it.
fn adapter(engine: &str) -> Option<&'static str> {
    match engine {
        "mysql" | "mariadb" | "aurora" | "aurora-mysql" => Some("mysql2"),
        "postgres" | "aurora-postgresql" => Some("postgresql"),
        "oracle-ee" | "oracle-ee-cdb" | "oracle-se2" | "oracle-se2-cdb" => Some("oracle_enhanced"),
        "sqlserver-ee" | "sqlserver-se" | "sqlserver-ex" | "sqlserver-web" => Some("sqlserver"),
        _ => None,
    }
}

impl Aws {
    /// A database instance, by its identifier or ARN, in the stack's account and region.
    ///
    /// # Errors
    /// When it cannot be told, or there is none.
    pub(crate) async fn database(&self, stack: &Stack, rds: &str) -> Result<Database, Trouble> {
        let on = format!("rds {rds}");
        let region = stack.region.as_str();
        let call = trouble::Call { service: service::RDS, operation: "DescribeDBInstances", on: &on, region };
        let clients = self.clients(Place::from(stack)).await;
        let asked = clients.rds.read.describe_db_instances().db_instance_identifier(rds).send().await;
        let absent = || Trouble {
            class: Class::Terminal,
            message: format!("rds {rds} does not exist in {region}: create it there, or correct `dataSource`"),
        };
        let answer = match asked {
            Err(error) if error.as_service_error().is_some_and(|error| error.is_db_instance_not_found_fault()) => {
                return Err(absent());
            }
            answer => call.answered(answer)?,
        };
        answer.db_instances.unwrap_or_default().into_iter().next().map(Database::from).ok_or_else(absent)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        aws::testing::{serve, shop},
        spec::Of,
        world::Class,
    };

    fn told(inner: &str) -> (u16, String) {
        let body = format!(
            "<DescribeDBInstancesResponse xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\"><DescribeDBInstancesResult>\
             <DBInstances><DBInstance>{inner}</DBInstance></DBInstances></DescribeDBInstancesResult>\
             </DescribeDBInstancesResponse>"
        );
        (200, body)
    }

    #[tokio::test]
    async fn a_database_tells_where_it_listens_and_as_what() {
        let aws = serve(|request| {
            assert!(request.contains("DBInstanceIdentifier=shop-db"), "{request}");
            told(
                "<DBInstanceStatus>available</DBInstanceStatus><Engine>postgres</Engine>\
                 <MasterUsername>shop</MasterUsername>\
                 <Endpoint><Address>shop-db.x.eu-west-1.rds.amazonaws.com</Address><Port>5432</Port></Endpoint>",
            )
        })
        .await;
        let database = aws.database(&shop(), "shop-db").await.unwrap();
        let of = |of| database.of("shop-db", of).unwrap();
        assert_eq!(
            (of(Of::Adapter), of(Of::Port), of(Of::Username)),
            ("postgresql".into(), "5432".into(), "shop".into())
        );
        assert_eq!(of(Of::Host), "shop-db.x.eu-west-1.rds.amazonaws.com");
        assert_eq!(aws.calls()["rds.DescribeDBInstances"], 1);
    }

    #[tokio::test]
    async fn one_that_is_being_made_is_waited_for_and_one_of_a_strange_engine_is_told() {
        let aws = serve(|_| told("<DBInstanceStatus>creating</DBInstanceStatus><Engine>db2-se</Engine>")).await;
        let database = aws.database(&shop(), "shop-db").await.unwrap();
        let host = database.of("shop-db", Of::Host).unwrap_err();
        assert_eq!((host.class, host.message.contains("is creating")), (Class::Transient, true));
        let adapter = database.of("shop-db", Of::Adapter).unwrap_err();
        assert_eq!((adapter.class, adapter.message.contains("`db2-se`")), (Class::Terminal, true));
    }

    #[tokio::test]
    async fn one_that_is_not_there_and_one_that_may_not_be_asked_for_are_told_apart() {
        let error = |code: &str| {
            let body = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error>\
                 <RequestId>1</RequestId></ErrorResponse>"
            );
            move |_: &str| (400, body.clone())
        };
        let gone = serve(error("DBInstanceNotFound")).await.database(&shop(), "shop-db").await.unwrap_err();
        assert_eq!(gone.class, Class::Terminal);
        assert!(gone.message.contains("does not exist in eu-west-1"), "{}", gone.message);
        let denied = serve(error("AccessDenied")).await.database(&shop(), "shop-db").await.unwrap_err();
        assert_eq!(denied.class, Class::Terminal);
        assert!(denied.message.contains("rds:DescribeDBInstances"), "{}", denied.message);
    }
}
