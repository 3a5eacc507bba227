"""The report: sections, tables and plots.

html_report        report.html, one self-contained page, from templates/
condition_section  the condition task's section
severity_section   the severity task's section
site_pictures      graded sites in all their views, wrong and right ones
paired_section     which backbone is better: paired differences
location_section   the location task's section
tables             Table 2, baselines, leakage, runs
plots              the figures
preview            preview.png: a study's slices and crops
paper_results      the paper's numbers
"""
