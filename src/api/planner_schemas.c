// SPDX-License-Identifier: Apache-2.0
/* The schemas of the planner's doors, as schemas.c has the others; ' stands for ". */
#include "api/api_int.h"

#define STR            "{'type':'string'}"
#define INT            "{'type':'integer'}"
#define BOOL           "{'type':'boolean'}"
#define NUM            "{'type':'number'}"
#define STR_NULL       "{'type':['string','null']}"
#define INT_NULL       "{'type':['integer','null']}"
#define NUM_NULL       "{'type':['number','null']}"
#define TIME           "{'type':'string','format':'date-time'}"
#define TIME_NULL      "{'type':['string','null'],'format':'date-time'}"
#define INTS           "{'type':'array','items':{'type':'integer'}}"
#define STRS           "{'type':'array','items':{'type':'string'}}"
#define OBJECT         "{'type':'object'}"
#define OBJ_NULL       "{'type':['object','null']}"
#define A(name)        "{'$ref':'#/components/schemas/" name "'}"
#define LIST_OF(name)  "{'type':'array','items':" A(name) "}"
#define STATUS         "{'type':'string','enum':['pending','running','completed','failed','cancelled']}"
#define DEGREE         "{'type':'integer','minimum':1}"
#define TEXT_OR_OBJECT "{'type':['object','string']}"

#define DEGREES                                                                                    \
    "'dp':" DEGREE ",'tp':" DEGREE ",'pp':" DEGREE ",'ep':" DEGREE ",'sp':{'type':['integer',"     \
    "'boolean']},'moe_tp':" DEGREE

#define TASK_FIELDS                                                                                \
    "'task_id':" STR ",'status':" STATUS ",'progress':{'type':'number','minimum':0,'maximum':100}" \
    ",'message':" STR ",'created_at':" TIME ",'started_at':" TIME_NULL                             \
    ",'completed_at':" TIME_NULL ",'experiment_name':" STR ",'queue_position':" INT_NULL           \
    ",'queue_length':" INT_NULL
#define QUESTION                                                                                   \
    "'topology':" OBJECT ",'model':" TEXT_OR_OBJECT ",'hardware':" OBJECT ",'inference':" OBJECT
#define OR_NULL(schema) "{'anyOf':[" schema ",{'type':'null'}]}"
#define BAND            "{'type':'object','required':['p10','p90'],'properties':{'p10':" NUM ",'p90':" NUM "}}"
#define WORK_MS                                                                                    \
    "{'type':'object','required':['gemm','attention','experts','communication','elementwise',"     \
    "'host'],'properties':{'gemm':" NUM ",'attention':" NUM ",'experts':" NUM                      \
    ",'communication':" NUM ",'elementwise':" NUM ",'host':" NUM "}}"
#define LIST_SCHEMA(list, name)                                                                    \
    "{'type':'object','required':['" list "'],'properties':{'" list                                \
    "':" LIST_OF(name) ",'total_count':" INT "}}"
#define PHASE                                                                                      \
    "{'type':'object','required':['computeTime','commTime','bubbleTime','overlapTime',"            \
    "'totalTime','computeEfficiency'],'properties':{'computeTime':" NUM ",'commTime':" NUM         \
    ",'bubbleTime':" NUM ",'overlapTime':" NUM ",'totalTime':" NUM ",'computeEfficiency':" NUM     \
    "}}"

// clang-format off
const struct schema planner_schemas[] = {
    { "EvaluationRequest",
      "{'type':'object','required':['experiment_name','topology','model','hardware','inference','search_mode'],'properties':{"
      "'experiment_name':{'type':'string','minLength':1,'maxLength':255},'description':" STR "," QUESTION ","
      "'search_mode':{'type':'string','enum':['manual','auto']},'manual_parallelism':{'anyOf':[" A("Parallelism") ",{'type':'null'}]},"
      "'search_constraints':{'type':['object','null'],'properties':{'max_chips':" INT_NULL ",'top_k':" INT_NULL ",'max_latency_ms':" NUM_NULL ","
      "'min_throughput':" NUM_NULL ",'max_memory_ratio':" NUM_NULL ",'optimization_target':{'type':['string','null'],"
      "'enum':['latency','throughput','efficiency','balanced','cost','chips',null]},'score_weights':" OBJ_NULL "}},"
      "'priority':{'type':'integer','minimum':1,'maximum':3,'default':2}}}" },
    { "Parallelism",
      "{'type':'object','properties':{" DEGREES ",'prefill':{'description':'The plan of other chips, which do the prefill. It needs a batch_size.','anyOf':[" A("ParallelismDegrees") ",{'type':'null'}]}}}" },
    { "ParallelismDegrees",
      "{'type':'object','properties':{" DEGREES "}}" },
    { "EvaluationSubmitted",
      "{'type':'object','required':['task_id','message'],'properties':{'task_id':{'type':'string','format':'uuid'},'message':" STR "}}" },
    { "EvaluationTask",
      "{'type':'object','required':['task_id','status','progress','message','error','search_stats','created_at','started_at','completed_at','experiment_name'],"
      "'properties':{" TASK_FIELDS ",'error':" STR_NULL ",'search_stats':" OR_NULL(A("SearchStats")) ",'priority':" INT_NULL ",'experiment_id':" INT ",'search_mode':" STR_NULL ","
      "'manual_parallelism':" OR_NULL(A("Parallelism")) ",'search_constraints':" OBJ_NULL ",'request':{'type':['object','null'],'additionalProperties':true,'description':'What was submitted, as it came; null of an imported job.'}}}" },
    { "SearchStats",
      "{'type':'object','required':['total_plans','feasible_plans','infeasible_plans'],'properties':{'total_plans':" INT ",'feasible_plans':" INT ","
      "'infeasible_plans':" INT ",'pruned_plans':" INT ",'evaluations':" INT ",'refused_by':{'type':'object','additionalProperties':" INT "}}}" },
    { "EvaluationTaskList",
      "{'type':'object','required':['tasks'],'properties':{'tasks':{'type':'array','items':{'type':'object','required':['task_id','status','progress','created_at','experiment_name'],"
      "'properties':{" TASK_FIELDS "}}},'total_count':{'type':'integer','description':'How many match, of all pages (not of the running ones).'}}}" },
    { "PlanParallelism",
      "{'type':'object','required':['dp','tp','pp','ep'],'properties':{'dp':" DEGREE ",'tp':" DEGREE ",'pp':" DEGREE ",'ep':" DEGREE ",'sp':" DEGREE ",'moe_tp':" DEGREE ","
      "'attention_dp':" DEGREE ",'replicas':" DEGREE "}}" },
    { "PlanMemory",
      "{'type':'object','description':'Of the fullest chip.','required':['weights_gb','activations_gb','runtime_gb','kv_budget_gb','kv_used_gb','capacity_gb'],'properties':{"
      "'weights_gb':" NUM ",'activations_gb':" NUM ",'runtime_gb':" NUM ",'kv_budget_gb':" NUM ",'kv_used_gb':" NUM ",'capacity_gb':" NUM ","
      "'fits_requests':" NUM ",'running':" NUM ",'sensitive':" BOOL "}}" },
    { "EvaluationPlan",
      "{'type':'object','required':['parallelism','chips','is_feasible','throughput','tps_per_chip','ttft','tpot','mfu','mbu','score'],'properties':{"
      "'result_id':" INT ",'plan_id':" STR ",'parallelism':" A("PlanParallelism") ",'chips':" INT ",'is_feasible':" BOOL ",'infeasible_reason':" STR_NULL ",'bound':{'type':'string','description':'Of a refused plan: what search_stats.refused_by counts it under.'},'throughput':" NUM ","
      "'tps_per_chip':" NUM ",'ttft':{'type':'number','description':'ms'},'tpot':{'type':'number','description':'ms'},"
      "'mfu':" NUM ",'mbu':" NUM ",'score':" NUM ",'memory':" A("PlanMemory") ",'e2e':{'type':'number','description':'ms'},'concurrency':" NUM ",'requests_per_s':" NUM ","
      "'total_throughput':" NUM ",'tps_per_user':" NUM ",'decode_step':{'type':'number','description':'ms'},'pareto':" BOOL ",'ttft_band':" BAND ",'tpot_band':" BAND ","
      "'throughput_band':" BAND ",'breakdown':{'type':'object','required':['decode_ms','prefill_ms'],'properties':{'decode_ms':" WORK_MS ",'prefill_ms':" WORK_MS "}},"
      "'tokens_per_step':" NUM ",'bubble':" NUM ",'joules_per_token':" NUM ",'scores':{'type':'object','additionalProperties':" NUM "},'cost_per_million_tokens':" NUM_NULL ","
      "'prefill_parallelism':" A("PlanParallelism") "}}" },
    { "EvaluationResults",
      "{'type':'object','required':['task_id','status','experiment_name','top_k_plans','infeasible_plans','search_stats'],'properties':{'task_id':" STR ","
      "'status':" STATUS ",'experiment_name':" STR ",'top_k_plans':" LIST_OF("EvaluationPlan") ",'infeasible_plans':" LIST_OF("EvaluationPlan") ","
      "'search_stats':" OR_NULL(A("SearchStats")) "}}" },
    { "ComparedExperiment",
      "{'type':'object','required':['id','name','total_tasks','completed_tasks','created_at','model_config','hardware_config','inference_config','best_plan','best_task_id','search_stats'],"
      "'properties':{'id':" INT ",'name':" STR ",'description':" STR_NULL ",'total_tasks':" INT ",'completed_tasks':" INT ",'created_at':" TIME ",'updated_at':" TIME ","
      "'model_config':{},'hardware_config':{},'inference_config':{},'best_plan':" OR_NULL(A("EvaluationPlan")) ",'best_task_id':" STR_NULL ",'search_stats':" OR_NULL(A("SearchStats")) "}}" },
    { "Comparison",
      "{'type':'object','required':['experiments'],'properties':{'experiments':" LIST_OF("ComparedExperiment") "}}" },
    { "EvaluationDone",
      "{'type':'object','required':['success','message'],'properties':{'success':" BOOL ",'message':" STR "}}" },
    { "EvaluationTaskIds",
      "{'type':'object','required':['task_ids'],'properties':{'task_ids':{'type':'array','minItems':1,'maxItems':100,'items':" STR "}}}" },
    { "EvaluationMany",
      "{'type':'object','required':['success','message','failed'],'properties':{'success':" BOOL ",'message':" STR ",'cancelled':" STRS ",'deleted':" STRS ","
      "'failed':{'type':'array','items':{'type':'object','properties':{'task_id':" STR ",'reason':" STR "}}}}}" },
    { "EvaluationConfig",
      "{'type':'object','required':['max_workers','running_tasks','active_tasks'],'properties':{'max_workers':" INT ",'running_tasks':" INT ",'active_tasks':" INT "}}" },
    { "EvaluationConfigEdit",
      "{'type':'object','required':['max_workers'],'properties':{'max_workers':{'type':'integer','minimum':1,'maximum':32}}}" },
    { "ExperimentList",
      "{'type':'object','required':['experiments'],'properties':{'experiments':{'type':'array','items':{'type':'object',"
      "'required':['id','name','description','total_tasks','completed_tasks','created_at'],'properties':{'id':" INT ",'name':" STR ","
      "'description':" STR_NULL ",'total_tasks':" INT ",'completed_tasks':" INT ",'created_at':" TIME "}}},'total_count':" INT "}}" },
    { "Experiment",
      "{'type':'object','required':['id','name','description','model_config','hardware_config','inference_config','total_tasks','completed_tasks','created_at','tasks'],"
      "'properties':{'id':" INT ",'name':" STR ",'description':" STR_NULL ",'model_config':{},'hardware_config':{},'inference_config':{},"
      "'total_tasks':" INT ",'completed_tasks':" INT ",'created_at':" TIME ",'tasks':{'type':'array','items':" OBJECT "}}}" },
    { "ExperimentEdit",
      "{'type':'object','properties':{'name':{'type':'string','minLength':1,'maxLength':255},'description':" STR_NULL "}}" },
    { "ExperimentEdited",
      "{'type':'object','required':['success','id','name','description'],'properties':{'success':" BOOL ",'id':" INT ",'name':" STR ",'description':" STR_NULL ",'total_tasks':" INT ","
      "'completed_tasks':" INT ",'created_at':" TIME "}}" },
    { "ExperimentIds",
      "{'type':'object','required':['experiment_ids'],'properties':{'experiment_ids':{'type':'array','minItems':1,'maxItems':100,'items':" INT "}}}" },
    { "ExperimentResultIds",
      "{'type':'object','required':['result_ids'],'properties':{'result_ids':{'type':'array','minItems':1,'maxItems':1000,'items':" INT "}}}" },
    { "ExperimentsDeleted",
      "{'type':'object','required':['success','message','deleted_count'],'properties':{'success':" BOOL ",'message':" STR ",'deleted_count':" INT "}}" },
    { "ExperimentExport",
      "{'type':'object','required':['version','export_time','experiments'],'properties':{'version':" STR ",'export_time':" TIME ",'experiments':{'type':'array','items':" OBJECT "}}}" },
    { "ExperimentImportCheck",
      "{'type':'object','required':['valid','version','temp_file_id','experiments','conflicts'],'properties':{'valid':" BOOL ",'version':" STR ",'temp_file_id':" STR ","
      "'experiments':{'type':'array','items':{'type':'object','required':['name','description','total_tasks','completed_tasks','exists'],'properties':{'name':" STR ",'description':" STR ","
      "'total_tasks':" INT ",'completed_tasks':" INT ",'exists':" BOOL ",'existing_id':" INT_NULL "}}},'conflicts':" STRS "}}" },
    { "ExperimentImport",
      "{'type':'object','required':['temp_file_id','configs'],'properties':{'temp_file_id':" STR ",'configs':{'type':'array','items':{'type':'object',"
      "'required':['original_name','action'],'properties':{'original_name':" STR ",'action':{'type':'string','enum':['skip','overwrite','rename']},'new_name':" STR_NULL "}}}}}" },
    { "DocumentDone", "{'type':'object','required':['success','id'],'properties':{'success':" BOOL ",'id':" STR "}}" },
    { "Benchmark",
      "{'type':'object','required':['id','name','model','inference'],'properties':{'id':{'type':'string','maxLength':128},'name':" STR ",'model':" OBJECT ",'inference':" OBJECT "}}" },
    { "BenchmarkList", LIST_SCHEMA("benchmarks", "Benchmark") },
    { "Topology",
      "{'type':'object','properties':{'id':" STR ",'name':" STR ",'pods':{'type':'array','items':" OBJECT "},'connections':{'type':'array','items':" OBJECT "},"
      "'pod_count':" INT ",'racks_per_pod':" INT ",'rack_config':" OBJECT ",'levels':{'type':'array','items':" OBJECT "}}}" },
    { "TopologyList", LIST_SCHEMA("topologies", "Topology") },
    { "ChipPreset", "{'type':'object','properties':{'id':" STR ",'name':" STR "}}" },
    { "ChipPresetList", LIST_SCHEMA("chip_presets", "ChipPreset") },
    { "ModelPreset", "{'type':'object','properties':{'id':" STR ",'name':" STR "}}" },
    { "ModelPresetList", LIST_SCHEMA("model_presets", "ModelPreset") },
    { "PresetChips",
      "{'type':'object','required':['chips'],'properties':{'chips':{'type':'array','items':{'type':'object','required':['id','name','flops_dtype','compute_tflops','num_cores',"
      "'sram_size_mb','dram_bandwidth_gbps','intra_bw_gbps','inter_bw_gbps','intra_latency_us','inter_latency_us','comm_latency'],'properties':{"
      "'id':" STR ",'name':" STR ",'flops_dtype':" STR ",'compute_tflops':" NUM ",'num_cores':" INT_NULL ",'sram_size_mb':" NUM_NULL ",'dram_bandwidth_gbps':" NUM ","
      "'intra_bw_gbps':" NUM_NULL ",'inter_bw_gbps':" NUM_NULL ",'intra_latency_us':" NUM ",'inter_latency_us':" NUM ",'comm_latency':" OBJECT ",'memory_gb':" NUM ","
      "'fp8_tflops':" NUM_NULL ",'fp4_tflops':" NUM_NULL ",'int8_tops':" NUM_NULL ",'scaleup_chips':" INT ",'tdp_w':" NUM_NULL ",'price_hour':" NUM_NULL ",'source':" STR_NULL ","
      "'own':" BOOL ",'efficiency_from':" STR ",'defaults':" STRS "}}}}}" },
    { "PresetRuntime",
      "{'type':'object','required':['protocol','network'],'properties':{'protocol':{'type':'object','properties':{'rtt_tp_us':" NUM ",'rtt_ep_us':" NUM ","
      "'bandwidth_utilization':" NUM ",'sync_latency_us':" NUM "}},'network':{'type':'object','properties':{'switch_delay_us':" NUM ",'cable_delay_us':" NUM ","
      "'link_delay_us':" NUM "}},'chip':" STR ",'defaults':" STRS ",'note':" STR "}}" },
    { "PresetModels",
      "{'type':'object','required':['models'],'properties':{'models':{'type':'array','items':{'type':'object','required':['id','name','config','total_params'],"
      "'properties':{'id':" STR ",'name':" STR ",'config':" OBJECT ",'own':" BOOL ",'total_params':" NUM ",'active_params':" NUM ",'kv_bytes_per_token':" NUM "}}}}}" },
    { "ModelParams",
      "{'type':'object','required':['total_params','active_params','kv_bytes_per_token','weights_gb'],'properties':{'total_params':" NUM ",'total_params_b':" NUM ","
      "'active_params':" NUM ",'active_params_b':" NUM ",'kv_bytes_per_token':" NUM ",'weights_gb':" OBJECT "}}" },
    { "SimulateRequest",
      "{'type':'object','required':['topology','model','inference','parallelism','hardware'],'properties':{" QUESTION ",'parallelism':" A("Parallelism") ","
      "'config':{'type':['object','null'],'properties':{'maxSimulatedTokens':{'type':'integer','minimum':1,'maximum':1024,'default':16}}}}}" },
    { "Simulation",
      "{'type':'object','required':['ganttChart','stats','timestamp'],'properties':{'ganttChart':{'type':'object','required':['timeUnit','resources','tasks'],'properties':{"
      "'timeUnit':{'const':'ms'},'resources':{'type':'array','items':{'type':'object','required':['id','name','ppStage'],'properties':{'id':" STR ",'name':" STR ",'ppStage':" INT ",'phase':{'type':'string','enum':['prefill','decode'],'description':'Where other chips do the prefill: which these are.'}}}},'tasks':{'type':'array','items':{'type':'object',"
      "'required':['id','name','resource','stage','start','end','type','phase'],'properties':{'id':" STR ",'name':" STR ",'resource':" STR ",'stage':" INT ","
      "'start':" NUM ",'end':" NUM ",'type':" STR ",'phase':{'type':'string','enum':['prefill','decode']}}}}}},"
      "'stats':{'type':'object','required':['prefill','decode','totalRunTime','simulatedTokens','ttft','avgTpot','dynamicMfu','dynamicMbu','maxPPBubbleRatio','totalEvents'],"
      "'properties':{'prefill':" PHASE ",'decode':" PHASE ",'totalRunTime':" NUM ",'simulatedTokens':" INT ",'ttft':" NUM ",'avgTpot':" NUM ",'dynamicMfu':" NUM ","
      "'dynamicMbu':" NUM ",'maxPPBubbleRatio':" NUM ",'totalEvents':" INT "}},'timestamp':{'type':'number','description':'Unix seconds.'}}}" },
    { "Validation",
      "{'type':'object','required':['valid','errors','required_chips','available_chips'],'properties':{'valid':" BOOL ",'errors':" STRS ",'required_chips':" INT ",'available_chips':" INT "}}" },
};
// clang-format on
const size_t planner_schema_count = ARRAY_SIZE(planner_schemas);
